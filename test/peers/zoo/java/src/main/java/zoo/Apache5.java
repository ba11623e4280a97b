// Apache HttpClient 5: Apache5 HOST PORT COUNT prints each answer on a line.
package zoo;

import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.io.entity.StringEntity;

public final class Apache5 {
    public static void main(String[] words) throws Exception {
        try (CloseableHttpClient client = HttpClients.createDefault()) {
            for (int call = 0; call < Integer.parseInt(words[2]); call++) {
                HttpPost request = new HttpPost("http://" + words[0] + ":" + words[1] + "/call/" + call);
                request.setEntity(new StringEntity("body " + call));
                String line = client.execute(request, answer ->
                    answer.getCode() + " " + answer.getVersion() + " " + EntityUtils.toString(answer.getEntity()));
                System.out.println(line);
            }
        }
    }
}
