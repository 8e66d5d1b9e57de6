import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The commands of Java's admin client; a thing that failed has its error code where its answer would stand. */
class JudgeAdmin {
    static final Map<String, Admin> ADMINS = new HashMap<>();

    static void run(JsonNode c, ObjectNode answer) throws Exception {
        Admin admin = ADMINS.computeIfAbsent(c.get("bootstrap").asText(), b -> Admin.create(Map.of("bootstrap.servers", b)));
        String name = c.path("name").asText(), topic = c.path("topic").asText(), group = c.path("group").asText();
        TopicPartition partition = new TopicPartition(topic, c.path("partition").asInt());
        switch (c.get("op").asText()) {
            case "create_topics" -> createTopics(admin, c, answer);
            case "delete_topics" -> codes(admin.deleteTopics(strings(c.get("names"))).topicNameValues(), answer);
            case "create_partitions" -> codes(admin.createPartitions(
                Map.of(name, NewPartitions.increaseTo(c.get("count").asInt()))).values(), answer);
            case "list_topics" -> strings(admin.listTopics().names().get(), answer.putArray("names"));
            case "describe_topic" -> describeTopic(admin, name, answer);
            case "describe_config" -> describeConfig(admin, c, answer);
            case "alter_config" -> alterConfig(admin, c, answer);
            case "list_offsets" -> {
                var found = admin.listOffsets(Map.of(partition, spec(c.get("at")))).partitionResult(partition).get();
                answer.put("offset", found.offset()).put("timestamp", found.timestamp())
                    .put("epoch", found.leaderEpoch().orElse(-1));
            }
            case "delete_records" -> answer.put("low", admin.deleteRecords(
                Map.of(partition, RecordsToDelete.beforeOffset(c.get("before").asLong())))
                .lowWatermarks().get(partition).get().lowWatermark());
            case "describe_cluster" -> {
                var cluster = admin.describeCluster();
                nodes(cluster.nodes().get(), answer, "nodes");
                answer.put("controller", cluster.controller().get().id());
            }
            case "list_groups" -> admin.listGroups(new ListGroupsOptions()).all().get().forEach(g ->
                answer.put(g.groupId(), g.groupState().map(Object::toString).orElse("") + " "
                    + g.type().map(Object::toString).orElse("") + " " + g.protocol()));
            case "describe_group" -> describeGroup(admin, group, answer);
            case "delete_groups" -> codes(admin.deleteConsumerGroups(strings(c.get("groups"))).deletedGroups(), answer);
            case "committed" -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach(
                (where, what) -> { if (what != null) answer.put(where.toString(), what.offset()); });
            case "alter_committed" -> codes(Map.of(topic, admin.alterConsumerGroupOffsets(group, Map.of(partition,
                new OffsetAndMetadata(c.get("offset").asLong()))).partitionResult(partition)), answer);
            case "delete_committed" -> codes(Map.of(topic,
                admin.deleteConsumerGroupOffsets(group, Set.of(partition)).partitionResult(partition)), answer);
            case "describe_producers" -> admin.describeProducers(List.of(partition)).partitionResult(partition).get()
                .activeProducers().forEach(p -> answer.withArray("producers").addObject()
                    .put("epoch", p.producerEpoch()).put("last_sequence", p.lastSequence()));
            default -> answer.put("unsupported", true);
        }
    }

    static void codes(Map<String, ? extends KafkaFuture<?>> futures, ObjectNode answer) {
        new TreeMap<>(futures).forEach((name, future) -> {
            try {
                future.get();
                answer.put(name, 0);
            } catch (Exception e) {
                answer.put(name, Judge.refuse(Judge.JSON.createObjectNode(), e).get("code").asInt());
            }
        });
    }

    static void createTopics(Admin admin, JsonNode c, ObjectNode answer) {
        List<NewTopic> topics = new ArrayList<>();
        for (JsonNode t : c.get("topics")) {
            Map<String, String> config = new HashMap<>();
            t.path("config").fields().forEachRemaining(e -> config.put(e.getKey(), e.getValue().asText()));
            Optional<Integer> count = t.has("partitions") ? Optional.of(t.get("partitions").asInt()) : Optional.empty();
            Optional<Short> replicas = t.has("replicas") ? Optional.of((short) t.get("replicas").asInt()) : Optional.empty();
            topics.add(new NewTopic(t.get("name").asText(), count, replicas).configs(config));
        }
        var options = new CreateTopicsOptions().validateOnly(c.path("validate").asBoolean(false));
        codes(admin.createTopics(topics, options).values(), answer);
    }

    static void describeTopic(Admin admin, String name, ObjectNode answer) throws Exception {
        var about = admin.describeTopics(List.of(name)).topicNameValues().get(name).get();
        answer.put("internal", about.isInternal());
        for (var p : about.partitions()) {
            ObjectNode out = answer.withArray("partitions").addObject().put("partition", p.partition());
            out.put("leader", p.leader() == null ? -1 : p.leader().id());
            nodes(p.replicas(), out, "replicas");
            nodes(p.isr(), out, "isr");
            nodes(Optional.ofNullable(p.elr()).orElse(List.of()), out, "elr");
        }
    }

    static void nodes(Collection<Node> nodes, ObjectNode answer, String key) {
        var out = answer.putArray(key);
        nodes.forEach(n -> out.add(n.id()));
    }

    static ConfigResource resource(JsonNode c) {
        return new ConfigResource(ConfigResource.Type.valueOf(c.get("type").asText().toUpperCase()), c.get("name").asText());
    }

    static void describeConfig(Admin admin, JsonNode c, ObjectNode answer) throws Exception {
        var config = admin.describeConfigs(List.of(resource(c))).values().get(resource(c)).get();
        List<ConfigEntry> entries = new ArrayList<>(config.entries());
        entries.sort(Comparator.comparing(ConfigEntry::name));
        Set<String> wanted = new TreeSet<>(strings(c.path("keys")));
        for (ConfigEntry e : entries)
            if (wanted.isEmpty() || wanted.contains(e.name()))
                answer.putArray(e.name()).add(e.value()).add(e.source().toString()).add(e.isReadOnly()).add(e.isSensitive())
                    .add(e.type().toString());
    }

    static void alterConfig(Admin admin, JsonNode c, ObjectNode answer) {
        List<AlterConfigOp> ops = new ArrayList<>();
        c.path("set").fields().forEachRemaining(e -> ops.add(
            new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
        c.path("unset").forEach(key -> ops.add(
            new AlterConfigOp(new ConfigEntry(key.asText(), null), AlterConfigOp.OpType.DELETE)));
        codes(Map.of(c.get("name").asText(), admin.incrementalAlterConfigs(Map.of(resource(c), ops)).all()), answer);
    }

    static OffsetSpec spec(JsonNode at) {
        if (at.isNumber()) return OffsetSpec.forTimestamp(at.asLong());
        return switch (at.asText()) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            default -> OffsetSpec.maxTimestamp();
        };
    }

    static void describeGroup(Admin admin, String group, ObjectNode answer) throws Exception {
        var about = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        answer.put("state", about.groupState().toString()).put("type", about.type().toString())
            .put("assignor", about.partitionAssignor()).put("coordinator", about.coordinator().id());
        List<List<String>> members = new ArrayList<>();
        for (MemberDescription m : about.members()) {
            TreeSet<String> owned = new TreeSet<>();
            m.assignment().topicPartitions().forEach(p -> owned.add(p.toString()));
            members.add(new ArrayList<>(owned));
        }
        members.sort(Comparator.comparing(Object::toString));
        var out = answer.putArray("members");
        members.forEach(owned -> strings(owned, out.addArray()));
    }

    static List<String> strings(JsonNode node) {
        List<String> out = new ArrayList<>();
        node.forEach(n -> out.add(n.asText()));
        return out;
    }

    static void strings(Collection<String> from, com.fasterxml.jackson.databind.node.ArrayNode to) {
        new TreeSet<>(from).forEach(to::add);
    }
}
