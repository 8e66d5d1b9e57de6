// franz-go as one of the judges: a JSON command a line on stdin, a JSON answer a line on stdout.
// tests/interop/judges.py says what commands there are. This file produces and reads; groups are in group.go, the
// admin client's commands in admin.go.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// record is one record as commands and answers carry it; a missing key, value or header is null.
type record struct {
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Epoch     int32        `json:"epoch"`
	Timestamp int64        `json:"timestamp"`
	Type      int8         `json:"type"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
}

// command has the arguments of every op.
type command struct {
	Op, Bootstrap, ID, Topic, Group, Codec, Isolation, Reset, Protocol, Assignor, Instance, Name, Type string
	Partition                                                                                          int32
	Acks                                                                                               *int
	Idempotent, Validate                                                                               bool
	Records                                                                                            []record
	From, At                                                                                           json.RawMessage
	Count                                                                                              int
	WaitMs                                                                                             int `json:"wait_ms"`
	Topics                                                                                             json.RawMessage
	Names, Groups, Keys, Unset                                                                         []string
	Set                                                                                                map[string]string
	Before, Offset                                                                                     int64
}

type answer = map[string]any

// fresh has a client ask for topics it does not know at once, and not only every few seconds.
var fresh = kgo.MetadataMinAge(50 * time.Millisecond)

var (
	ctx     = context.Background()
	clients = map[string]*kgo.Client{}
	admins  = map[string]*kadm.Client{}
)

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		found := answer{}
		if err = json.Unmarshal(line, &c); err == nil {
			err = run(&c, found)
		}
		if err != nil {
			found = refused(err)
		}
		if err := out.Encode(found); err != nil {
			panic(err)
		}
	}
}

// refused is the code that came over the wire, or -1 for the client's own failures.
func refused(err error) answer {
	var known *kerr.Error
	code := int16(-1)
	if errors.As(err, &known) {
		code = known.Code
	}
	return answer{"code": code, "error": err.Error()}
}

func run(c *command, a answer) error {
	switch c.Op {
	case "produce":
		return produce(c, a)
	case "seek":
		return seek(c, a)
	case "poll":
		return poll(clients[c.ID], c, a)
	case "close":
		if client := clients[c.ID]; client != nil {
			client.Close()
			delete(clients, c.ID)
		}
		return nil
	case "join", "member", "commit", "leave":
		return group(c, a)
	}
	return administer(c, a)
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func bytes(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

func codec(name string) kgo.CompressionCodec {
	return map[string]kgo.CompressionCodec{"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[name]
}

func produce(c *command, a answer) error {
	client, known := clients[c.ID], false
	if _, known = clients[c.ID]; !known {
		acks := kgo.AllISRAcks()
		if c.Acks != nil && *c.Acks >= 0 {
			acks = []kgo.Acks{kgo.NoAck(), kgo.LeaderAck()}[*c.Acks]
		}
		options := []kgo.Opt{kgo.SeedBrokers(c.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codec(c.Codec)), kgo.RequiredAcks(acks), kgo.ProducerLinger(200 * time.Millisecond),
			fresh}
		if !c.Idempotent {
			options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
		}
		var err error
		if client, err = kgo.NewClient(options...); err != nil {
			return err
		}
		if c.ID != "" {
			clients[c.ID] = client
		} else {
			defer client.Close()
		}
	}
	var records []*kgo.Record
	for _, r := range c.Records {
		one := &kgo.Record{Topic: c.Topic, Partition: c.Partition, Key: bytes(r.Key), Value: bytes(r.Value),
			Timestamp: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: *h[0], Value: bytes(h[1])})
		}
		records = append(records, one)
	}
	offsets := []int64{}
	for _, one := range client.ProduceSync(ctx, records...) {
		if one.Err != nil {
			return one.Err
		}
		offsets = append(offsets, one.Record.Offset)
	}
	a["offsets"] = offsets
	return nil
}

// seek opens a consumer of one partition; what "from" means is asked of the broker at once, so that it holds from now on.
func seek(c *command, a answer) error {
	at, err := position(c)
	if err != nil {
		return err
	}
	reset := kgo.NewOffset().AtStart()
	if c.Reset == "latest" {
		reset = kgo.NewOffset().AtEnd()
	}
	place := map[string]map[int32]kgo.Offset{c.Topic: {c.Partition: kgo.NewOffset().At(at)}}
	options := []kgo.Opt{kgo.SeedBrokers(c.Bootstrap), kgo.ConsumePartitions(place), kgo.ConsumeResetOffset(reset),
		kgo.FetchMaxWait(100 * time.Millisecond), fresh}
	if c.Isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	clients[c.ID] = client
	a["position"] = at
	return nil
}

func position(c *command) (int64, error) {
	var number int64
	if json.Unmarshal(c.From, &number) == nil {
		return number, nil
	}
	var word string
	var time struct{ Timestamp int64 }
	admin, err := adminOf(c)
	if err != nil {
		return 0, err
	}
	var found kadm.ListedOffsets
	switch {
	case json.Unmarshal(c.From, &word) != nil:
		if err := json.Unmarshal(c.From, &time); err != nil {
			return 0, err
		}
		found, err = admin.ListOffsetsAfterMilli(ctx, time.Timestamp, c.Topic)
	case word == "beginning":
		found, err = admin.ListStartOffsets(ctx, c.Topic)
	case word == "end":
		found, err = admin.ListEndOffsets(ctx, c.Topic)
	case word == "stored":
		committed, err := admin.FetchOffsets(ctx, c.Group)
		if err != nil {
			return 0, err
		}
		one, ok := committed.Lookup(c.Topic, c.Partition)
		if !ok {
			return 0, fmt.Errorf("nothing is stored for %s", c.Group)
		}
		return one.At, one.Err
	}
	if err != nil {
		return 0, err
	}
	one, ok := found.Lookup(c.Topic, c.Partition)
	if !ok {
		return 0, fmt.Errorf("no partition %s-%d", c.Topic, c.Partition)
	}
	return one.Offset, one.Err
}

func poll(client *kgo.Client, c *command, a answer) error {
	wait := 20 * time.Second
	if c.WaitMs > 0 {
		wait = time.Duration(c.WaitMs) * time.Millisecond
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	records := []record{}
	for len(records) < c.Count && until.Err() == nil {
		fetches := client.PollFetches(until)
		for _, failed := range fetches.Errors() {
			if until.Err() == nil {
				return failed.Err
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { records = append(records, seen(r)) })
	}
	a["records"] = records
	return nil
}

func seen(r *kgo.Record) record {
	headers := [][2]*string{}
	for _, h := range r.Headers {
		name := h.Key
		headers = append(headers, [2]*string{&name, text(h.Value)})
	}
	return record{r.Partition, r.Offset, r.LeaderEpoch, r.Timestamp.UnixMilli(), r.Attrs.TimestampType(), text(r.Key),
		text(r.Value), headers}
}
