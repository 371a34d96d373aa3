package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// The frames of a request are made here one by one, so that a client can send
// any, and leave at any. The standard input says what to do, in lines of JSON;
// each stream has a number that the other side chooses:
//
//	open   a request's HEADERS, with these fields
//	frame  a frame of a type: 0 is DATA
//	end    the stream's end
//	read   lets the answer in, for a stream that was opened with "later"
//	reset  RESET_STREAM and STOP_SENDING, as who takes a request back sends
//	stop   STOP_SENDING alone: the request was sent, its answer is unwanted
//	close  the end of the connection
//
// The standard output tells what came: for each stream one "status" with
// "headers", any number of "data", and "end" or "error".
type command struct {
	Do     string
	ID     int
	Fields [][2]string
	Later  bool
	Type   uint64
	Data   string
}

type event struct {
	ID      int               `json:"id"`
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Data    string            `json:"data,omitempty"`
	End     bool              `json:"end,omitempty"`
	Error   string            `json:"error,omitempty"`
}

const (
	streamControl = 0
	frameData     = 0
	frameHeaders  = 1
	frameSettings = 4
)

type talker struct {
	conn    *quic.Conn
	streams map[int]*quic.Stream
	mutex   sync.Mutex
	out     *json.Encoder
}

func talk(address string, args []string) {
	flags := flag.NewFlagSet("talk", flag.ExitOnError)
	window := flags.Uint64("window", 0, "")
	flags.Parse(args)

	conn, err := connect(address, *window)
	if err == nil {
		err = control(conn)
	}
	if err != nil {
		fail("h3: " + err.Error())
	}

	t := &talker{conn: conn, streams: map[int]*quic.Stream{},
		out: json.NewEncoder(os.Stdout)}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<22)

	for in.Scan() {
		var c command

		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fail("h3: " + err.Error())
		}

		if c.Do == "close" {
			break
		}

		t.obey(&c)
	}

	conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// control opens the stream of control, which says nothing but defaults, and lets
// in what the server's says. GOAWAY is one: streams that are open go on.
func control(conn *quic.Conn) error {
	stream, err := conn.OpenUniStream()
	if err != nil {
		return err
	}

	if _, err = stream.Write(append([]byte{streamControl},
		frame(frameSettings, nil)...)); err != nil {
		return err
	}

	go func() {
		for {
			its, err := conn.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go io.Copy(io.Discard, its)
		}
	}()

	return nil
}

func (t *talker) obey(c *command) {
	if c.Do == "open" {
		t.open(c)
		return
	}

	stream := t.streams[c.ID]
	if stream == nil {
		return
	}

	// a stream that was taken back or refused lets nothing be written; what
	// became of it is told by its reader
	switch c.Do {
	case "frame":
		stream.Write(frame(c.Type, []byte(c.Data)))
	case "end":
		stream.Close()
	case "read":
		go t.read(c.ID, stream)
	case "reset":
		stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	case "stop":
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	default:
		fail("h3: there is no command " + c.Do)
	}
}

func frame(kind uint64, payload []byte) []byte {
	b := quicvarint.Append(nil, kind)
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...)
}

func (t *talker) open(c *command) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	stream, err := t.conn.OpenStreamSync(ctx)
	if err != nil {
		t.tell(event{ID: c.ID, Error: err.Error()})
		return
	}

	var block bytes.Buffer
	fields := qpack.NewEncoder(&block)

	for _, f := range c.Fields {
		fields.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]})
	}

	t.streams[c.ID] = stream
	stream.Write(frame(frameHeaders, block.Bytes()))

	if !c.Later {
		go t.read(c.ID, stream)
	}
}

func (t *talker) read(id int, stream *quic.Stream) {
	in := bufio.NewReader(stream)

	for {
		err := t.readFrame(id, in)

		if errors.Is(err, io.EOF) {
			t.tell(event{ID: id, End: true})
			return
		}

		if err != nil {
			t.tell(event{ID: id, Error: reason(err)})
			return
		}
	}
}

// The name of what a server ends a stream with is HTTP/3's.
func reason(err error) string {
	var ended *quic.StreamError

	if errors.As(err, &ended) {
		return http3.ErrCode(ended.ErrorCode).String()
	}

	return err.Error()
}

func (t *talker) readFrame(id int, in *bufio.Reader) error {
	kind, err := quicvarint.Read(in)
	if err != nil {
		return err
	}

	length, err := quicvarint.Read(in)
	if err != nil {
		return err
	}

	payload := make([]byte, length)
	if _, err = io.ReadFull(in, payload); err != nil {
		return err
	}

	switch kind {
	case frameHeaders:
		return t.readHeaders(id, payload)
	case frameData:
		t.tell(event{ID: id, Data: string(payload)})
	}

	return nil
}

func (t *talker) readHeaders(id int, block []byte) error {
	e := event{ID: id, Headers: map[string]string{}}
	next := qpack.NewDecoder().Decode(block)

	for {
		field, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("qpack: %w", err)
		}

		if field.Name == ":status" {
			e.Status, _ = strconv.Atoi(field.Value)
		} else {
			e.Headers[field.Name] = field.Value
		}
	}

	t.tell(e)
	return nil
}

func (t *talker) tell(e event) {
	t.mutex.Lock()
	defer t.mutex.Unlock()

	if t.out.Encode(e) != nil {
		os.Exit(1)
	}
}
