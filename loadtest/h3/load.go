package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// load asks for a path, on each connection one request after the other, and
// prints "RATE REQUESTS P50": answers in a second, answers, microseconds. Any
// answer but 200 ends it.
func load(address string, args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	connections := flags.Int("connections", 32, "")
	duration := flags.Duration("duration", 3*time.Second, "")

	if len(args) == 0 {
		fail("usage: h3 load ADDRESS PATH [-connections N] [-duration TIME]")
	}

	url := "https://localhost" + args[0]
	flags.Parse(args[1:])

	clients := make([]*http3.ClientConn, *connections)
	times := make([][]time.Duration, *connections)

	for i := range clients {
		_, its, err := client(address)
		if err != nil {
			fail("h3: " + err.Error())
		}
		clients[i] = its
	}

	var over atomic.Bool
	var all sync.WaitGroup
	started := time.Now()
	time.AfterFunc(*duration, func() { over.Store(true) })

	for i := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for !over.Load() {
				times[i] = append(times[i], once(clients[i], url))
			}
		}()
	}

	all.Wait()
	took := time.Since(started)
	every := slices.Concat(times...)
	slices.Sort(every)
	fmt.Println(float64(len(every))/took.Seconds(), len(every),
		every[len(every)/2].Microseconds())
}

func once(client *http3.ClientConn, url string) time.Duration {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		fail("h3: " + err.Error())
	}

	started := time.Now()
	answer, err := client.RoundTrip(request)
	if err != nil {
		fail("h3: " + err.Error())
	}

	_, err = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()

	if err != nil || answer.StatusCode != 200 {
		fail(fmt.Sprintf("h3: %s: %d %v", url, answer.StatusCode, err))
	}

	return time.Since(started)
}
