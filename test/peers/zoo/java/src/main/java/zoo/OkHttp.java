// okhttp: OkHttp HOST PORT COUNT h1|h2c prints each answer on a line.
package zoo;

import java.util.List;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

public final class OkHttp {
    public static void main(String[] words) throws Exception {
        Protocol protocol = words[3].equals("h2c") ? Protocol.H2_PRIOR_KNOWLEDGE : Protocol.HTTP_1_1;
        OkHttpClient client = new OkHttpClient.Builder().protocols(List.of(protocol)).build();
        for (int call = 0; call < Integer.parseInt(words[2]); call++) {
            Request request = new Request.Builder()
                .url("http://" + words[0] + ":" + words[1] + "/call/" + call)
                .post(RequestBody.create(("body " + call).getBytes()))
                .build();
            try (Response answer = client.newCall(request).execute()) {
                System.out.println(answer.code() + " " + answer.protocol() + " " + answer.body().string());
            }
        }
        // Its idle threads would keep the program for a minute.
        System.exit(0);
    }
}
