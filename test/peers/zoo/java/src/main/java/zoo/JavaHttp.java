// The JDK's HTTP client: JavaHttp HOST PORT COUNT prints each answer on a line.
package zoo;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public final class JavaHttp {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        for (int call = 0; call < Integer.parseInt(words[2]); call++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + words[0] + ":" + words[1] + "/call/" + call))
                .POST(HttpRequest.BodyPublishers.ofString("body " + call))
                .build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
