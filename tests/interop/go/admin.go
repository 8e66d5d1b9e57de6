package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func adminOf(c *command) (*kadm.Client, error) {
	if admins[c.Bootstrap] == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap), fresh)
		if err != nil {
			return nil, err
		}
		admins[c.Bootstrap] = kadm.NewClient(client)
	}
	return admins[c.Bootstrap], nil
}

// code is 0, or the error code that the broker answered.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	return refused(err)["code"].(int16)
}

func administer(c *command, a answer) error {
	admin, err := adminOf(c)
	if err != nil {
		return err
	}
	switch c.Op {
	case "create_topics", "delete_topics", "create_partitions", "list_topics", "describe_topic":
		return topics(admin, c, a)
	case "describe_config", "alter_config":
		return configs(admin, c, a)
	case "list_offsets", "delete_records", "describe_producers":
		return offsets(admin, c, a)
	case "describe_cluster":
		found, err := admin.BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		a["nodes"], a["controller"] = found.Brokers.NodeIDs(), found.Controller
	case "list_groups", "describe_group", "delete_groups", "committed", "alter_committed", "delete_committed":
		return groups(admin, c, a)
	default:
		a["unsupported"] = true
	}
	return nil
}

func topics(admin *kadm.Client, c *command, a answer) error {
	switch c.Op {
	case "create_topics":
		var wanted []struct {
			Name       string
			Partitions *int32
			Replicas   *int16
			Config     map[string]string
		}
		if err := json.Unmarshal(c.Topics, &wanted); err != nil {
			return err
		}
		create := admin.CreateTopics
		if c.Validate {
			create = admin.ValidateCreateTopics
		}
		for _, one := range wanted {
			config := map[string]*string{}
			for key, value := range one.Config {
				config[key] = &value
			}
			made, err := create(ctx, *one.Partitions, *one.Replicas, config, one.Name)
			if err != nil {
				return err
			}
			a[one.Name] = code(made[one.Name].Err)
		}
	case "delete_topics":
		gone, err := admin.DeleteTopics(ctx, c.Names...)
		for name, one := range gone {
			a[name] = code(one.Err)
		}
		return err
	case "create_partitions":
		grown, err := admin.UpdatePartitions(ctx, c.Count, c.Name)
		if err != nil && len(grown) == 0 {
			return err
		}
		a[c.Name] = code(grown[c.Name].Err)
	case "list_topics":
		found, err := admin.ListTopicsWithInternal(ctx)
		a["names"] = found.Names()
		return err
	case "describe_topic":
		found, err := admin.ListTopicsWithInternal(ctx, c.Name)
		if err != nil {
			return err
		}
		one := found[c.Name]
		if one.Err != nil {
			return one.Err
		}
		partitions := []answer{}
		for _, p := range one.Partitions.Sorted() {
			partitions = append(partitions, answer{"partition": p.Partition, "leader": p.Leader, "replicas": p.Replicas,
				"isr": p.ISR, "offline": p.OfflineReplicas})
		}
		a["internal"], a["partitions"] = one.IsInternal, partitions
	}
	return nil
}

func configs(admin *kadm.Client, c *command, a answer) error {
	if c.Op == "describe_config" {
		describe := func() (kadm.ResourceConfigs, error) { return admin.DescribeTopicConfigs(ctx, c.Name) }
		if c.Type == "broker" {
			id, err := strconv.Atoi(c.Name)
			if err != nil {
				return err
			}
			describe = func() (kadm.ResourceConfigs, error) { return admin.DescribeBrokerConfigs(ctx, int32(id)) }
		}
		found, err := describe()
		if err != nil {
			return err
		}
		wanted := map[string]bool{}
		for _, key := range c.Keys {
			wanted[key] = true
		}
		for _, resource := range found {
			if resource.Err != nil {
				return resource.Err
			}
			for _, one := range resource.Configs {
				if wanted[one.Key] {
					a[one.Key] = []any{one.Value, one.Source.String()}
				}
			}
		}
		return nil
	}
	changes := []kadm.AlterConfig{}
	for key, value := range c.Set {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	for _, key := range c.Unset {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	altered, err := admin.AlterTopicConfigs(ctx, changes, c.Name)
	for _, one := range altered {
		a[one.Name] = code(one.Err)
	}
	return err
}

func offsets(admin *kadm.Client, c *command, a answer) error {
	switch c.Op {
	case "list_offsets":
		var millis int64
		var word string
		var found kadm.ListedOffsets
		var err error
		if json.Unmarshal(c.At, &millis) == nil {
			found, err = admin.ListOffsetsAfterMilli(ctx, millis, c.Topic)
		} else if err = json.Unmarshal(c.At, &word); err != nil {
			return err
		} else if word == "earliest" {
			found, err = admin.ListStartOffsets(ctx, c.Topic)
		} else if word == "latest" {
			found, err = admin.ListEndOffsets(ctx, c.Topic)
		} else {
			found, err = admin.ListMaxTimestampOffsets(ctx, c.Topic)
		}
		if err != nil {
			return err
		}
		one, ok := found.Lookup(c.Topic, c.Partition)
		if !ok {
			return fmt.Errorf("no partition %s-%d", c.Topic, c.Partition)
		}
		a["offset"], a["timestamp"], a["epoch"] = one.Offset, one.Timestamp, one.LeaderEpoch
		return one.Err
	case "delete_records":
		until := kadm.Offsets{}
		until.AddOffset(c.Topic, c.Partition, c.Before, -1)
		gone, err := admin.DeleteRecords(ctx, until)
		if err != nil {
			return err
		}
		one, _ := gone.Lookup(c.Topic, c.Partition)
		a["low"] = one.LowWatermark
		return one.Err
	}
	where := kadm.TopicsSet{}
	where.Add(c.Topic, c.Partition)
	found, err := admin.DescribeProducers(ctx, where)
	producers := []answer{}
	found.EachProducer(func(p kadm.DescribedProducer) {
		producers = append(producers, answer{"epoch": p.ProducerEpoch, "last_sequence": p.LastSequence})
	})
	a["producers"] = producers
	return err
}

func groups(admin *kadm.Client, c *command, a answer) error {
	place := kadm.Offsets{}
	place.AddOffset(c.Topic, c.Partition, c.Offset, -1)
	switch c.Op {
	case "list_groups":
		found, err := admin.ListGroups(ctx)
		for name, one := range found {
			a[name] = one.State + " " + one.GroupType + " " + one.ProtocolType
		}
		return err
	case "describe_group":
		return describe(admin, c, a)
	case "delete_groups":
		gone, err := admin.DeleteGroups(ctx, c.Groups...)
		if err != nil && len(gone) == 0 {
			return err
		}
		for name, one := range gone {
			a[name] = code(one.Err)
		}
	case "committed":
		found, err := admin.FetchOffsets(ctx, c.Group)
		if err != nil {
			return err
		}
		found.Each(func(one kadm.OffsetResponse) { a[fmt.Sprintf("%s-%d", one.Topic, one.Partition)] = one.At })
	case "alter_committed":
		done, err := admin.CommitOffsets(ctx, c.Group, place)
		if err != nil {
			return err
		}
		one, _ := done.Lookup(c.Topic, c.Partition)
		a[c.Topic] = code(one.Err)
	case "delete_committed":
		done, err := admin.DeleteOffsets(ctx, c.Group, place.TopicsSet())
		if err != nil {
			return err
		}
		a[c.Topic] = code(done[c.Topic][c.Partition])
	}
	return nil
}

// describe asks as for a consumer group first, and for a classic one where there is none.
func describe(admin *kadm.Client, c *command, a answer) error {
	members := []string{}
	found, err := admin.DescribeConsumerGroups(ctx, c.Group)
	if err != nil {
		return err
	}
	one := found[c.Group]
	if one.Err == nil {
		for _, m := range one.Members {
			members = append(members, owned(m.Assignment))
		}
		a["state"], a["type"], a["assignor"], a["coordinator"] = one.State, "consumer", one.AssignorName, one.Coordinator.NodeID
	} else if errors.Is(one.Err, kerr.GroupIDNotFound) {
		found, err := admin.DescribeGroups(ctx, c.Group)
		if err != nil {
			return err
		}
		one := found[c.Group]
		if one.Err != nil {
			return one.Err
		}
		for _, m := range one.Members {
			set := kadm.TopicsSet{}
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range assigned.Topics {
					set.Add(t.Topic, t.Partitions...)
				}
			}
			members = append(members, owned(set))
		}
		a["state"], a["type"], a["assignor"], a["coordinator"] = one.State, one.ProtocolType, one.Protocol, one.Coordinator.NodeID
	} else {
		return one.Err
	}
	sort.Strings(members)
	a["members"] = members
	return nil
}

func owned(set kadm.TopicsSet) string {
	return fmt.Sprint(set.Sorted())
}
