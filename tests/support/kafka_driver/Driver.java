import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.FileLogInputStream;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.tools.DumpLogSegments;
import org.apache.kafka.tools.api.Decoder;

/**
 * The Java side of the interop tests: one JSON command a line on stdin, one JSON answer a line on stdout, bytes as hex.
 * One JVM serves a whole test run: clients of a broker, Kafka's own reader of log files, and DumpLogSegments.
 * It ends by halt(), so that a transaction which was left open stays open.
 */
public class Driver {
    /** For DumpLogSegments: keys and values as hex, so that the dump loses nothing. */
    public static class HexDecoder implements Decoder<String> {
        public String fromBytes(byte[] bytes) {
            return hex(bytes);
        }
    }

    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, KafkaProducer<byte[], byte[]>> PRODUCERS = new HashMap<>();

    static String hex(byte[] bytes) {
        return bytes == null ? null : HexFormat.of().formatHex(bytes);
    }

    static String hex(ByteBuffer bytes) {
        return bytes == null ? null : hex(Utils.toArray(bytes));
    }

    static byte[] bytes(JsonNode node) {
        return node == null || node.isNull() ? null : HexFormat.of().parseHex(node.asText());
    }

    static Map<String, Object> strings(JsonNode node) {
        Map<String, Object> out = new HashMap<>();
        node.fields().forEachRemaining(e -> out.put(e.getKey(), e.getValue().asText()));
        return out;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; out.flush()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                run(JSON.readTree(line), answer);
            } catch (Throwable t) {
                t.printStackTrace();
                answer.put("error", t.toString());
            }
            out.println(answer);
        }
        Runtime.getRuntime().halt(0);
    }

    static void run(JsonNode c, ObjectNode answer) throws Exception {
        String bootstrap = c.path("bootstrap").asText(), topic = c.path("topic").asText(), id = c.path("id").asText();
        TopicPartition partition = new TopicPartition(topic, c.path("partition").asInt());
        switch (c.get("op").asText()) {
            case "topic", "delete-topic", "delete-records", "describe", "committed" -> {
                try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
                    administer(admin, c, partition, answer);
                }
            }
            case "open" -> PRODUCERS.put(id, open(bootstrap, strings(c.get("config"))));
            case "begin" -> PRODUCERS.get(id).beginTransaction();
            case "commit" -> PRODUCERS.get(id).commitTransaction();
            case "abort" -> PRODUCERS.get(id).abortTransaction();
            case "close" -> PRODUCERS.remove(id).close();
            case "send" -> send(PRODUCERS.get(id), partition, c.get("records"), answer.putArray("offsets"));
            case "group-offsets" -> PRODUCERS.get(id).sendOffsetsToTransaction(
                Map.of(partition, new OffsetAndMetadata(c.get("offset").asLong())),
                new ConsumerGroupMetadata(c.get("group").asText()));
            case "consume" -> consume(bootstrap, c, partition, answer.putArray("records"));
            case "resume" -> resume(bootstrap, c, topic, answer);
            case "read" -> read(new File(c.get("file").asText()), answer.putArray("batches"), answer.putArray("records"));
            case "dump" -> dump(c, answer);
            default -> throw new IllegalArgumentException(c.toString());
        }
    }

    static void administer(Admin admin, JsonNode c, TopicPartition partition, ObjectNode answer) throws Exception {
        String topic = partition.topic();
        switch (c.get("op").asText()) {
            case "topic" -> {
                Map<String, String> config = new HashMap<>();
                strings(c.get("config")).forEach((k, v) -> config.put(k, (String) v));
                admin.createTopics(List.of(new NewTopic(topic, c.get("partitions").asInt(), (short) 1).configs(config)))
                    .all().get();
            }
            case "delete-topic" -> admin.deleteTopics(List.of(topic)).all().get();
            case "delete-records" ->
                admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(c.get("before").asLong()))).all().get();
            case "describe" -> {
                for (String name : admin.listTopics().names().get()) {
                    var about = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
                    answer.putObject(name).put("id", about.topicId().toString()).put("partitions", about.partitions().size());
                }
            }
            case "committed" -> admin.listConsumerGroupOffsets(c.get("group").asText()).partitionsToOffsetAndMetadata().get()
                .forEach((where, what) -> answer.put(where.toString(), what.offset()));
            default -> throw new IllegalArgumentException(c.toString());
        }
    }

    /** One flush is one batch, unless it passes batch.size: the long linger keeps the sender from cutting earlier. */
    static KafkaProducer<byte[], byte[]> open(String bootstrap, Map<String, Object> config) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", "60000", "acks", "all",
            "enable.idempotence", "false", "max.in.flight.requests.per.connection", "1"));
        if (config.containsKey("transactional.id")) all.put("enable.idempotence", "true");
        all.putAll(config);
        var producer = new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
        if (config.containsKey("transactional.id")) producer.initTransactions();
        return producer;
    }

    static void send(KafkaProducer<byte[], byte[]> producer, TopicPartition to, JsonNode records, ArrayNode offsets)
            throws Exception {
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        for (JsonNode r : records) {
            List<Header> headers = new ArrayList<>();
            r.get("headers").forEach(h -> headers.add(new RecordHeader(h.get(0).asText(), bytes(h.get(1)))));
            acks.add(producer.send(new ProducerRecord<>(to.topic(), to.partition(), r.get("timestamp").asLong(),
                bytes(r.get("key")), bytes(r.get("value")), headers)));
        }
        producer.flush();
        for (Future<RecordMetadata> ack : acks) offsets.add(ack.get().offset());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, JsonNode config) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", "false",
            "auto.offset.reset", "earliest", "check.crcs", "true"));
        if (config != null) all.putAll(strings(config));
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Everything in one partition, from `from` or the log start on to the end that the consumer may see. */
    static void consume(String bootstrap, JsonNode c, TopicPartition partition, ArrayNode out) {
        try (var consumer = consumer(bootstrap, c.get("config"))) {
            consumer.assign(List.of(partition));
            if (c.has("from")) consumer.seek(partition, c.get("from").asLong());
            else consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end)
                for (var r : consumer.poll(Duration.ofMillis(200))) if (r.offset() < end) consumed(r, out.addObject());
        }
    }

    /** A member of a group reads `count` records from where the group stands, commits, and leaves. */
    static void resume(String bootstrap, JsonNode c, String topic, ObjectNode answer) {
        ArrayNode out = answer.putArray("records");
        long deadline = System.currentTimeMillis() + 60_000;
        try (var consumer = consumer(bootstrap, c.get("config"))) {
            consumer.subscribe(List.of(topic));
            while (out.size() < c.get("count").asInt() && System.currentTimeMillis() < deadline)
                for (var r : consumer.poll(Duration.ofMillis(100))) consumed(r, out.addObject());
            consumer.commitSync();
        }
    }

    static void consumed(ConsumerRecord<byte[], byte[]> r, ObjectNode out) {
        out.put("partition", r.partition()).put("offset", r.offset()).put("timestamp", r.timestamp())
            .put("timestampType", r.timestampType().name).put("key", hex(r.key())).put("value", hex(r.value()));
        headers(r.headers(), out.putArray("headers"));
    }

    static void headers(Iterable<Header> headers, ArrayNode out) {
        for (Header h : headers) out.addArray().add(h.key()).add(hex(h.value()));
    }

    /** What Kafka's own reader finds in one .log file, up to the first batch that its recovery would cut away. */
    static void read(File file, ArrayNode batches, ArrayNode records) throws IOException {
        try (FileRecords log = FileRecords.open(file, false)) {
            int position = 0;
            for (FileLogInputStream.FileChannelRecordBatch b : log.batches()) {
                if (!b.isValid()) return;
                batch(b, batches.addObject().put("position", position));
                for (Record r : b) record(b, r, records.addObject());
                position += b.sizeInBytes();
            }
        } catch (CorruptRecordException e) {
            System.err.println(file + ": " + e.getMessage());
        }
    }

    static void batch(FileLogInputStream.FileChannelRecordBatch b, ObjectNode out) {
        out.put("size", b.sizeInBytes()).put("baseOffset", b.baseOffset()).put("lastOffset", b.lastOffset())
            .put("count", b.countOrNull()).put("leaderEpoch", b.partitionLeaderEpoch()).put("crc", b.checksum())
            .put("codec", b.compressionType().name).put("timestampType", b.timestampType().name)
            .put("maxTimestamp", b.maxTimestamp())
            .put("deleteHorizonMs", b.deleteHorizonMs().isPresent() ? b.deleteHorizonMs().getAsLong() : null)
            .put("producerId", b.producerId()).put("producerEpoch", b.producerEpoch())
            .put("baseSequence", b.baseSequence()).put("lastSequence", b.lastSequence())
            .put("isTransactional", b.isTransactional()).put("isControl", b.isControlBatch());
    }

    static void record(FileLogInputStream.FileChannelRecordBatch b, Record r, ObjectNode out) {
        out.put("offset", r.offset()).put("timestamp", r.timestamp()).put("timestampType", b.timestampType().name)
            .put("key", hex(r.key())).put("value", hex(r.value()));
        ArrayNode headers = out.putArray("headers");
        for (Header h : r.headers()) headers.addArray().add(h.key()).add(hex(h.value()));
        out.put("producerId", b.producerId()).put("producerEpoch", b.producerEpoch()).put("sequence", r.sequence())
            .put("isTransactional", b.isTransactional()).put("isControl", b.isControlBatch())
            .put("leaderEpoch", b.partitionLeaderEpoch()).put("batch", b.baseOffset());
    }

    /** DumpLogSegments in this process, file by file: its text, and what it said on stderr (mismatches). */
    static void dump(JsonNode c, ObjectNode answer) throws IOException {
        PrintStream out = System.out, err = System.err;
        ByteArrayOutputStream text = new ByteArrayOutputStream(), errors = new ByteArrayOutputStream();
        System.setOut(new PrintStream(text, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errors, true, StandardCharsets.UTF_8));
        try {
            for (JsonNode file : c.get("files")) {
                List<String> args = new ArrayList<>(List.of("--deep-iteration", "--print-data-log", "--files", file.asText()));
                c.get("flags").forEach(flag -> args.add(flag.asText()));
                try {
                    DumpLogSegments.main(args.toArray(new String[0]));
                } catch (RuntimeException e) {  // an index without entries that was never trimmed
                    System.out.println("DumpLogSegments failed: " + e);
                }
            }
        } finally {
            System.out.flush();
            System.err.flush();
            System.setOut(out);
            System.setErr(err);
        }
        answer.put("text", text.toString(StandardCharsets.UTF_8)).put("errors", errors.toString(StandardCharsets.UTF_8));
    }
}
