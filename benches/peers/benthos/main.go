// A pipeline from MQTT to Kafka on the engine of Redpanda Connect: benthos 4,
// which is MIT licensed, with an input over paho.mqtt.golang and an output over
// franz-go, the client libraries that Connect uses too. Connect's own
// components are under another licence and are not here: this is a peer built
// as Connect is built, not Connect.
//
// The engine does what a user of it gets: its transactions tie an input's
// acknowledgement to the output's, it batches, and it retries what fails.
package main

import (
	"context"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	in := service.NewConfigSpec().Fields(
		service.NewStringField("url"),
		service.NewStringField("topic"),
		service.NewIntField("qos"),
		service.NewBoolField("clean_session"))
	if err := service.RegisterInput("mqtt", in, newSource); err != nil {
		panic(err)
	}
	out := service.NewConfigSpec().Fields(
		service.NewStringListField("brokers"),
		service.NewStringField("topic"),
		service.NewBoolField("safe"),
		service.NewIntField("max_in_flight"),
		service.NewBatchPolicyField("batching"))
	if err := service.RegisterBatchOutput("kafka", out, newSink); err != nil {
		panic(err)
	}
	service.RunCLI(context.Background())
}

// source is a subscription. At QoS 1 a message is acknowledged to the broker
// once the engine says that the output has it.
type source struct {
	options  *mqtt.ClientOptions
	topic    string
	qos      byte
	client   mqtt.Client
	messages chan mqtt.Message
}

func newSource(conf *service.ParsedConfig, _ *service.Resources) (service.Input, error) {
	url, err := conf.FieldString("url")
	if err != nil {
		return nil, err
	}
	topic, err := conf.FieldString("topic")
	if err != nil {
		return nil, err
	}
	qos, err := conf.FieldInt("qos")
	if err != nil {
		return nil, err
	}
	clean, err := conf.FieldBool("clean_session")
	if err != nil {
		return nil, err
	}
	options := mqtt.NewClientOptions().AddBroker(url).SetClientID("benthos").
		SetCleanSession(clean).SetAutoAckDisabled(true).SetOrderMatters(true)
	source := &source{options: options, topic: topic, qos: byte(qos), messages: make(chan mqtt.Message)}
	return service.AutoRetryNacks(source), nil
}

func (s *source) Connect(context.Context) error {
	take := func(_ mqtt.Client, message mqtt.Message) { s.messages <- message }
	s.client = mqtt.NewClient(s.options)
	if token := s.client.Connect(); token.Wait() && token.Error() != nil {
		return token.Error()
	}
	token := s.client.Subscribe(s.topic, s.qos, take)
	token.Wait()
	return token.Error()
}

func (s *source) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case message := <-s.messages:
		event := service.NewMessage(message.Payload())
		event.MetaSetMut("topic", message.Topic())
		return event, func(_ context.Context, err error) error {
			if err == nil {
				message.Ack()
			}
			return err
		}, nil
	}
}

func (s *source) Close(context.Context) error {
	s.client.Disconnect(250)
	return nil
}

// sink produces each batch and returns once Kafka has acknowledged it. The key
// is the topic that a message was published to.
type sink struct {
	options []kgo.Opt
	client  *kgo.Client
}

func newSink(conf *service.ParsedConfig, _ *service.Resources) (
	service.BatchOutput, service.BatchPolicy, int, error,
) {
	var none service.BatchPolicy
	brokers, err := conf.FieldStringList("brokers")
	if err != nil {
		return nil, none, 0, err
	}
	topic, err := conf.FieldString("topic")
	if err != nil {
		return nil, none, 0, err
	}
	safe, err := conf.FieldBool("safe")
	if err != nil {
		return nil, none, 0, err
	}
	inFlight, err := conf.FieldMaxInFlight()
	if err != nil {
		return nil, none, 0, err
	}
	policy, err := conf.FieldBatchPolicy("batching")
	options := []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	}
	if !safe {
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	return &sink{options: options}, policy, inFlight, err
}

func (s *sink) Connect(context.Context) (err error) {
	s.client, err = kgo.NewClient(s.options...)
	return err
}

func (s *sink) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for at, message := range batch {
		value, err := message.AsBytes()
		if err != nil {
			return err
		}
		topic, _ := message.MetaGet("topic")
		records[at] = &kgo.Record{Key: []byte(topic), Value: value}
	}
	return s.client.ProduceSync(ctx, records...).FirstErr()
}

func (s *sink) Close(context.Context) error {
	s.client.Close()
	return nil
}
