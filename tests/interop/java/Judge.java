import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

/**
 * Java's producer, consumer and command-line tools as one of the judges: a JSON command a line on stdin, a JSON answer a
 * line on stdout. tests/interop/judges.py says what commands there are; JudgeAdmin has those of the admin client.
 */
public class Judge {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Map<String, KafkaProducer<String, String>> PRODUCERS = new HashMap<>();
    static final Map<String, KafkaConsumer<String, String>> CONSUMERS = new HashMap<>();
    static final Map<String, Member> MEMBERS = new HashMap<>();

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; out.flush()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                run(JSON.readTree(line), answer);
            } catch (Throwable t) {
                refuse(answer, t);
            }
            out.println(answer);
        }
        Runtime.getRuntime().halt(0);
    }

    /** What failed, as the number that came over the wire; clients' own errors have Kafka's nearest number. */
    static ObjectNode refuse(ObjectNode answer, Throwable t) {
        while ((t instanceof ExecutionException || t instanceof CompletionException) && t.getCause() != null) t = t.getCause();
        t.printStackTrace();
        return answer.put("code", Errors.forException(t).code()).put("error", t.toString());
    }

    static void run(JsonNode c, ObjectNode answer) throws Exception {
        String id = c.path("id").asText();
        switch (c.get("op").asText()) {
            case "produce" -> produce(c, id, answer.putArray("offsets"));
            case "seek" -> seek(c, id, answer);
            case "poll" -> poll(CONSUMERS.get(id), c, answer.putArray("records"));
            case "join" -> MEMBERS.put(id, new Member(c));
            case "member" -> MEMBERS.get(id).tell(answer);
            case "commit" -> MEMBERS.get(id).ask("commit");
            case "leave" -> MEMBERS.remove(id).ask("leave");
            case "close" -> close(id);
            case "tool" -> tool(c, answer);
            default -> JudgeAdmin.run(c, answer);
        }
    }

    static void close(String id) {
        if (PRODUCERS.containsKey(id)) PRODUCERS.remove(id).close();
        if (CONSUMERS.containsKey(id)) CONSUMERS.remove(id).close();
    }

    // -- producing and reading -------------------------------------------------------------------------------

    static void produce(JsonNode c, String id, ArrayNode offsets) throws Exception {
        KafkaProducer<String, String> producer = PRODUCERS.computeIfAbsent(id, i -> new KafkaProducer<>(Map.of(
            "bootstrap.servers", c.get("bootstrap").asText(),
            "linger.ms", 200,
            "max.request.size", 64 << 20,
            "delivery.timeout.ms", 60_000,
            "compression.type", c.path("codec").asText("none"),
            "enable.idempotence", c.path("idempotent").asBoolean(false),
            "acks", c.path("acks").asInt(-1) == -1 ? "all" : c.path("acks").asText()),
            new StringSerializer(), new StringSerializer()));
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        try {
            for (JsonNode r : c.get("records")) {
                List<Header> headers = new ArrayList<>();
                r.path("headers").forEach(h -> headers.add(new RecordHeader(h.get(0).asText(), bytes(h.get(1)))));
                Long timestamp = r.has("timestamp") ? r.get("timestamp").asLong() : null;
                acks.add(producer.send(new ProducerRecord<>(c.get("topic").asText(), c.path("partition").asInt(), timestamp,
                    text(r.path("key")), text(r.path("value")), headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> ack : acks) offsets.add(ack.get().offset());
        } finally {
            if (id.isEmpty()) close(id);
        }
    }

    static KafkaConsumer<String, String> consumer(JsonNode c) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", c.get("bootstrap").asText(),
            "enable.auto.commit", "false", "auto.offset.reset", c.path("reset").asText("earliest"), "check.crcs", "true",
            "isolation.level", c.path("isolation").asText("read_uncommitted"), "fetch.max.wait.ms", 100));
        if (c.has("group")) config.put("group.id", c.get("group").asText());
        if (c.has("instance")) config.put("group.instance.id", c.get("instance").asText());
        if (c.path("protocol").asText().equals("consumer")) {
            config.put("group.protocol", "consumer");
            if (c.has("assignor")) config.put("group.remote.assignor", c.get("assignor").asText());
        } else {
            config.put("heartbeat.interval.ms", 200);
            config.put("session.timeout.ms", 10_000);
            String assignor = Map.of("roundrobin", "RoundRobinAssignor", "cooperative-sticky", "CooperativeStickyAssignor")
                .getOrDefault(c.path("assignor").asText(), "RangeAssignor");
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
        }
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    /** A consumer of one partition at `from`: "beginning", "end", "stored", an offset, or {"timestamp": ms}. */
    static void seek(JsonNode c, String id, ObjectNode answer) {
        close(id);
        KafkaConsumer<String, String> consumer = consumer(c);
        CONSUMERS.put(id, consumer);
        TopicPartition partition = new TopicPartition(c.get("topic").asText(), c.path("partition").asInt());
        consumer.assign(List.of(partition));
        JsonNode from = c.get("from");
        if (from.isNumber()) consumer.seek(partition, from.asLong());
        else if (from.has("timestamp")) {
            var found = consumer.offsetsForTimes(Map.of(partition, from.get("timestamp").asLong())).get(partition);
            if (found == null) consumer.seekToEnd(List.of(partition));
            else consumer.seek(partition, found.offset());
        } else if (from.asText().equals("beginning")) consumer.seekToBeginning(List.of(partition));
        else if (from.asText().equals("end")) consumer.seekToEnd(List.of(partition));
        answer.put("position", consumer.position(partition));
    }

    /** `count` records, or fewer when `wait_ms` has passed. */
    static void poll(KafkaConsumer<String, String> consumer, JsonNode c, ArrayNode out) {
        long deadline = System.nanoTime() + c.path("wait_ms").asLong(20_000) * 1_000_000;
        while (out.size() < c.get("count").asInt() && System.nanoTime() < deadline)
            for (var r : consumer.poll(Duration.ofMillis(50))) record(r, out.addObject());
    }

    static void record(ConsumerRecord<String, String> r, ObjectNode out) {
        out.put("partition", r.partition()).put("offset", r.offset()).put("timestamp", r.timestamp())
            .put("type", r.timestampType().name).put("key", r.key()).put("value", r.value())
            .put("epoch", r.leaderEpoch().orElse(-1));
        ArrayNode headers = out.putArray("headers");
        for (Header h : r.headers())
            headers.addArray().add(h.key()).add(h.value() == null ? null : new String(h.value(), StandardCharsets.UTF_8));
    }

    static String text(JsonNode node) {
        return node.isTextual() ? node.asText() : null;
    }

    static byte[] bytes(JsonNode node) {
        return node.isTextual() ? node.asText().getBytes(StandardCharsets.UTF_8) : null;
    }

    // -- groups ----------------------------------------------------------------------------------------------

    /** A member of a group on a thread of its own, which polls and does what it is asked in between. */
    static class Member extends Thread {
        record Wish(String verb, CompletableFuture<Void> done) {}

        private final KafkaConsumer<String, String> consumer;
        private final BlockingQueue<Wish> wishes = new LinkedBlockingQueue<>();
        private final ArrayNode read = JSON.createArrayNode();
        private ArrayNode assignment = JSON.createArrayNode();
        private ObjectNode failure;

        Member(JsonNode c) {
            super("member " + c.get("id").asText());
            consumer = consumer(c);
            List<String> topics = new ArrayList<>();
            c.get("topics").forEach(t -> topics.add(t.asText()));
            consumer.subscribe(topics);
            setDaemon(true);
            start();
        }

        @Override public void run() {
            try {
                for (Wish wish = null; wish == null || !wish.verb.equals("leave"); wish = wishes.poll()) {
                    if (wish != null) serve(wish);
                    var records = consumer.poll(Duration.ofMillis(50));
                    synchronized (this) {
                        for (var r : records) read.addArray().add(r.partition()).add(r.offset()).add(r.value());
                        assignment = JSON.createArrayNode();
                        for (String one : names()) assignment.add(one);
                    }
                }
            } catch (Throwable t) {
                synchronized (this) { failure = refuse(JSON.createObjectNode(), t); }
            } finally {
                consumer.close();
            }
        }

        private void serve(Wish wish) {
            try {
                consumer.commitSync();
                wish.done.complete(null);
            } catch (RuntimeException e) {
                wish.done.completeExceptionally(e);
            }
        }

        private TreeSet<String> names() {
            TreeSet<String> names = new TreeSet<>();
            consumer.assignment().forEach(p -> names.add(p.topic() + "-" + p.partition()));
            return names;
        }

        void ask(String verb) throws Exception {
            Wish wish = new Wish(verb, new CompletableFuture<>());
            wishes.add(wish);
            if (verb.equals("leave")) join();
            else wish.done.get(60, TimeUnit.SECONDS);
        }

        synchronized void tell(ObjectNode answer) {
            answer.set("assignment", assignment);
            answer.set("read", read.deepCopy());
            if (failure != null) answer.setAll(failure);
        }
    }

    // -- command-line tools ----------------------------------------------------------------------------------

    static class Exited extends RuntimeException {}

    /** The first exit counts: what a tool says and does after that is about our exception, which it caught. */
    static RuntimeException exit(int code, CompletableFuture<Integer> exit) {
        if (exit.complete(code)) {
            System.setOut(new PrintStream(PrintStream.nullOutputStream()));
            System.setErr(new PrintStream(PrintStream.nullOutputStream()));
        }
        return new Exited();
    }

    /** Runs the main() of one of Kafka's tools in this JVM: its exit code and what it printed. */
    static void tool(JsonNode c, ObjectNode answer) throws Exception {
        List<String> args = new ArrayList<>();
        c.get("args").forEach(a -> args.add(a.asText()));
        PrintStream out = System.out, err = System.err;
        InputStream in = System.in;
        ByteArrayOutputStream text = new ByteArrayOutputStream(), errors = new ByteArrayOutputStream();
        CompletableFuture<Integer> exit = new CompletableFuture<>();
        Exit.setExitProcedure((code, message) -> { throw exit(code, exit); });
        Exit.setHaltProcedure((code, message) -> { throw exit(code, exit); });
        Exit.setShutdownHookAdder((name, hook) -> { });
        System.setOut(new PrintStream(text, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errors, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(c.path("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        try {
            Class.forName(c.get("class").asText()).getMethod("main", String[].class)
                .invoke(null, (Object) args.toArray(new String[0]));
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Exited)) throw e;
        } finally {
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
        answer.put("exit", exit.getNow(0)).put("out", text.toString(StandardCharsets.UTF_8))
            .put("err", errors.toString(StandardCharsets.UTF_8));
    }
}
