// gRPC in Java without generated code: Grpc serve PORT | call HOST PORT COUNT.
package zoo;

import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public final class Grpc {
    private static final class Text implements MethodDescriptor.Marshaller<String> {
        @Override
        public InputStream stream(String text) {
            return new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String parse(InputStream bytes) {
            try {
                return new String(bytes.readAllBytes(), StandardCharsets.UTF_8);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    private static MethodDescriptor<String, String> method(String name, MethodType type) {
        return MethodDescriptor.newBuilder(new Text(), new Text()).setType(type).setFullMethodName("zoo.Greeter/" + name).build();
    }

    private static final MethodDescriptor<String, String> GREET = method("Greet", MethodType.UNARY);
    private static final MethodDescriptor<String, String> CHAT = method("Chat", MethodType.BIDI_STREAMING);

    /** Each message comes back, until the client has said all. */
    private static StreamObserver<String> again(StreamObserver<String> to) {
        return new StreamObserver<>() {
            @Override
            public void onNext(String said) {
                to.onNext("again " + said);
            }

            @Override
            public void onError(Throwable error) {
                // The client went away; nothing is owed to it.
            }

            @Override
            public void onCompleted() {
                to.onCompleted();
            }
        };
    }

    private static void serve(int port) throws Exception {
        ServerServiceDefinition service = ServerServiceDefinition.builder("zoo.Greeter")
            .addMethod(GREET, ServerCalls.asyncUnaryCall((said, to) -> {
                to.onNext("hello " + said);
                to.onCompleted();
            }))
            .addMethod(CHAT, ServerCalls.asyncBidiStreamingCall(Grpc::again))
            .build();
        var server = NettyServerBuilder.forPort(port).addService(service).build().start();
        System.out.println("listening");
        server.awaitTermination();
    }

    private static void call(String host, int port, int count) throws Exception {
        ManagedChannel channel = NettyChannelBuilder.forAddress(host, port).usePlaintext().build();
        var answers = new LinkedBlockingQueue<String>();
        var options = io.grpc.CallOptions.DEFAULT;
        StreamObserver<String> chat = ClientCalls.asyncBidiStreamingCall(channel.newCall(CHAT, options), new StreamObserver<>() {
            @Override
            public void onNext(String text) {
                answers.add(text);
            }

            @Override
            public void onError(Throwable error) {
                answers.add("failed: " + error);
            }

            @Override
            public void onCompleted() {
                answers.add("completed");
            }
        });
        for (int number = 0; number < count; number++) {
            String said = "call " + number;
            chat.onNext(said);
            String answer = ClientCalls.blockingUnaryCall(channel, GREET, options, said);
            System.out.println(answer + " " + answers.poll(20, TimeUnit.SECONDS));
        }
        chat.onCompleted();
        System.out.println(answers.poll(20, TimeUnit.SECONDS));
        channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("serve")) serve(Integer.parseInt(words[1]));
        else call(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
    }
}
