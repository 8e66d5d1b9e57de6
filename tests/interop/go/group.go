package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// member is one member of a group: its client, what it owns, and what it has read.
type member struct {
	sync.Mutex
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
	owned  map[string]bool
	read   [][3]any
	err    error
}

var members = map[string]*member{}

func group(c *command, a answer) error {
	m := members[c.ID]
	if m == nil && c.Op != "join" {
		return fmt.Errorf("no member %s", c.ID)
	}
	switch c.Op {
	case "join":
		m, err := join(c)
		members[c.ID] = m
		return err
	case "member":
		m.tell(a)
	case "commit":
		return m.client.CommitUncommittedOffsets(ctx)
	case "leave":
		delete(members, c.ID)
		m.stop()
		<-m.done
		m.client.Close()
	}
	return nil
}

func join(c *command) (*member, error) {
	var topics []string
	if err := json.Unmarshal(c.Topics, &topics); err != nil {
		return nil, err
	}
	m := &member{owned: map[string]bool{}, done: make(chan struct{}), read: [][3]any{}}
	balancer := map[string]kgo.GroupBalancer{"roundrobin": kgo.RoundRobinBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer()}[c.Assignor]
	if balancer == nil {
		balancer = kgo.RangeBalancer()
	}
	options := []kgo.Opt{kgo.SeedBrokers(c.Bootstrap), kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(topics...),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.SessionTimeout(10 * time.Second), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(m.note(true)), kgo.OnPartitionsRevoked(m.note(false)), kgo.OnPartitionsLost(m.note(false)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), fresh}
	if c.Instance != "" {
		options = append(options, kgo.InstanceID(c.Instance))
	}
	if c.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	m.client = client
	var polling context.Context
	polling, m.stop = context.WithCancel(ctx)
	go m.poll(polling)
	return m, nil
}

func (m *member) note(mine bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
		m.Lock()
		defer m.Unlock()
		if mine {
			m.err = nil
		}
		for topic, partitions := range changed {
			for _, partition := range partitions {
				if name := fmt.Sprintf("%s-%d", topic, partition); mine {
					m.owned[name] = true
				} else {
					delete(m.owned, name)
				}
			}
		}
	}
}

func (m *member) poll(polling context.Context) {
	defer close(m.done)
	for polling.Err() == nil {
		fetches := m.client.PollFetches(polling)
		m.Lock()
		for _, failed := range fetches.Errors() { // those that a client gets over by itself are only for its log
			var known *kerr.Error
			if errors.As(failed.Err, &known) && !known.Retriable {
				m.err = failed.Err
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { m.read = append(m.read, [3]any{r.Partition, r.Offset, text(r.Value)}) })
		m.Unlock()
	}
}

func (m *member) tell(a answer) {
	m.Lock()
	defer m.Unlock()
	owned := []string{}
	for name := range m.owned {
		owned = append(owned, name)
	}
	sort.Strings(owned)
	a["assignment"], a["read"] = owned, append([][3]any{}, m.read...)
	if m.err != nil {
		for key, value := range refused(m.err) {
			a[key] = value
		}
	}
}
