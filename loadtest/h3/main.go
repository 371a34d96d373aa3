// A client of the service over HTTP/3 (RFC 9114), on quic-go. It trusts any
// certificate, as it is for tests on this machine.
//
//	h3 talk ADDRESS [-window BYTES]    one connection, by lines of JSON: talk.go
//	h3 flows ADDRESS ...               whole ways of users: flows.go
//	h3 load ADDRESS PATH ...           one request after the other: load.go
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	patience = 30 * time.Second
	idle     = 15 * time.Second // a server keeps a client so long that has vanished
)

func main() {
	if len(os.Args) < 3 {
		fail("usage: h3 talk|flows|load ADDRESS ...")
	}

	address, rest := os.Args[2], os.Args[3:]

	switch os.Args[1] {
	case "talk":
		talk(address, rest)
	case "flows":
		flows(address, rest)
	case "load":
		load(address, rest)
	default:
		fail("h3: there is no " + os.Args[1])
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

// connect makes a connection; window is what the server may send on a stream
// that nobody reads, 0 for the library's own.
func connect(address string, window uint64) (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	return quic.DialAddr(ctx, address,
		&tls.Config{
			InsecureSkipVerify: true,
			NextProtos:         []string{http3.NextProtoH3},
			ServerName:         "localhost",
		},
		&quic.Config{
			HandshakeIdleTimeout:       patience,
			MaxIdleTimeout:             idle,
			InitialStreamReceiveWindow: window,
			MaxStreamReceiveWindow:     window,
		})
}

// client is the library's own of a new connection.
func client(address string) (*quic.Conn, *http3.ClientConn, error) {
	conn, err := connect(address, 0)
	if err != nil {
		return nil, nil, err
	}

	transport := &http3.Transport{DisableCompression: true}
	return conn, transport.NewClientConn(conn), nil
}
