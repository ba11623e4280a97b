import java.net.URI;
import java.net.http.*;
import java.time.Duration;

/** One HTTP call with Java's own client: `java Probe.java URL`. */
public class Probe {
  public static void main(String[] args) throws Exception {
    var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(8)).build();
    var request = HttpRequest.newBuilder(URI.create(args[0])).timeout(Duration.ofSeconds(8)).build();
    try {
      System.out.print(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    } catch (Exception error) {
      System.out.println(error.getClass().getSimpleName());
      System.exit(1);
    }
  }
}
