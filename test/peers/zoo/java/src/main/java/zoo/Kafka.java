// Kafka: Kafka serve HOST PORT FOLDER is a broker of one; Kafka call HOST PORT COUNT produces and consumes.
package zoo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Kafka {
    private static void serve(String host, String port, String folder) throws Exception {
        Path home = Files.createDirectories(Path.of(folder));
        Path file = home.resolve("server.properties");
        Files.writeString(file, String.join("\n",
            "process.roles=broker,controller",
            "node.id=1",
            "controller.quorum.voters=1@127.0.0.1:9093",
            "listeners=PLAINTEXT://" + host + ":" + port + ",CONTROLLER://127.0.0.1:9093",
            "advertised.listeners=PLAINTEXT://" + host + ":" + port,
            "controller.listener.names=CONTROLLER",
            "inter.broker.listener.name=PLAINTEXT",
            "offsets.topic.replication.factor=1",
            "offsets.topic.num.partitions=1",
            "group.initial.rebalance.delay.ms=0",
            "log.dirs=" + home.resolve("log")));
        String id = org.apache.kafka.common.Uuid.randomUuid().toString();
        var quiet = new java.io.PrintStream(java.io.OutputStream.nullOutputStream());
        int status = kafka.tools.StorageTool.execute(new String[] {"format", "-t", id, "-c", file.toString()}, quiet);
        if (status != 0) throw new IllegalStateException("the broker's folder was not formatted: " + status);
        kafka.Kafka.main(new String[] {file.toString()});
    }

    private static void call(String server, int count) throws Exception {
        // A name of its own in each run, so that no run reads another's.
        String topic = "calls-" + System.nanoTime();
        Map<String, Object> common = Map.of("bootstrap.servers", server, "acks", "all");
        try (var producer = new KafkaProducer<>(common, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < count; number++) {
                var at = producer.send(new ProducerRecord<>(topic, 0, "key", "call " + number)).get();
                System.out.println("written at " + at.offset());
            }
        }
        var reading = Map.<String, Object>of("bootstrap.servers", server, "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            int read = 0;
            for (int polls = 0; read < count && polls < 100; polls++) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(record.offset() + " " + record.value());
                    read++;
                }
            }
        }
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("serve")) serve(words[1], words[2], words[3]);
        else call(words[1] + ":" + words[2], Integer.parseInt(words[3]));
    }
}
