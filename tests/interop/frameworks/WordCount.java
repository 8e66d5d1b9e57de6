import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/** One instance of a Kafka Streams program that counts the words of the topic `lines` into the topic `counts`.
 *
 * WordCount BOOTSTRAP STATE_DIRECTORY. Prints `state S` whenever its state changes. On stdin, `count WORD` is answered
 * by `count N` (-1 where another instance has the word, or while it moves); at the end of stdin it stops in good order.
 */
public final class WordCount {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.putAll(Map.of(
            "bootstrap.servers", args[0], "application.id", "word-count", "state.dir", args[1],
            "commit.interval.ms", 100, "consumer.session.timeout.ms", 2000, "consumer.heartbeat.interval.ms", 300,
            "default.key.serde", Serdes.StringSerde.class, "default.value.serde", Serdes.StringSerde.class));
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("store"))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .to("counts", Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setStateListener((now, before) -> say("state " + now));
        streams.start();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            say("count " + count(streams, line.substring("count ".length())));
        }
        streams.close(Duration.ofSeconds(20));
    }

    private static long count(KafkaStreams streams, String word) {
        var store = StoreQueryParameters.fromNameAndType("store", QueryableStoreTypes.<String, Long>keyValueStore());
        try {
            Long found = streams.store(store).get(word);
            return found == null ? -1 : found;
        } catch (InvalidStateStoreException moving) {
            return -1;
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
