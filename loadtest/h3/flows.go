package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// flows lets users -first to -first + -n - 1 buy a seat each,
// on a connection of their own, -together at once: token, polls until
// it is active, concerts, schedules, seats, reserve, pay, balance. A seat that
// somebody else had first is no failure: another is taken. It prints what came of
// it as JSON, and fails if a flow did.
type result struct {
	Flows    int              `json:"flows"`
	Failed   int              `json:"failed"`
	Requests int64            `json:"requests"`
	Taken    int64            `json:"seatsTakenByOthers"`
	Seconds  float64          `json:"seconds"`
	P50      map[string]int64 `json:"p50us"`
	P95      map[string]int64 `json:"p95us"`
	First    string           `json:"firstFailure,omitempty"`
}

type flow struct {
	user    int
	client  *http3.ClientConn
	all     *result
	measure func(step string, took time.Duration)
}

func flows(address string, args []string) {
	flags := flag.NewFlagSet("flows", flag.ExitOnError)
	n := flags.Int("n", 100, "")
	first := flags.Int("first", 1, "")
	together := flags.Int("together", 32, "")
	flags.Parse(args)

	var (
		next  atomic.Int64
		mutex sync.Mutex
		every sync.WaitGroup
		r     = &result{Flows: *n, P50: map[string]int64{}, P95: map[string]int64{}}
		times = map[string][]int64{}
	)

	measure := func(step string, took time.Duration) {
		mutex.Lock()
		times[step] = append(times[step], took.Microseconds())
		mutex.Unlock()
	}

	started := time.Now()

	for range *together {
		every.Add(1)
		go func() {
			defer every.Done()
			for i := next.Add(1); i <= int64(*n); i = next.Add(1) {
				f := flow{user: *first + int(i) - 1, all: r, measure: measure}
				if err := f.whole(address); err != nil {
					mutex.Lock()
					r.Failed++
					if r.First == "" {
						r.First = fmt.Sprintf("user %d: %v", f.user, err)
					}
					mutex.Unlock()
				}
			}
		}()
	}

	every.Wait()
	r.Seconds = time.Since(started).Seconds()

	for step, list := range times {
		slices.Sort(list)
		r.P50[step] = list[len(list)/2]
		r.P95[step] = list[len(list)*95/100]
	}

	json.NewEncoder(os.Stdout).Encode(r)

	if r.Failed > 0 {
		os.Exit(1)
	}
}

func (f *flow) whole(address string) error {
	started := time.Now()
	conn, its, err := client(address)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")

	f.client = its
	f.measure("connect", time.Since(started))

	if err := f.enter(); err != nil {
		return err
	}

	schedule, concert, err := f.choose()
	if err != nil {
		return err
	}

	reservation, price, err := f.reserve(schedule, concert)
	if err != nil {
		return err
	}

	return f.pay(reservation, price)
}

func (f *flow) enter() error {
	var token struct {
		Status   string
		NextPoll float64
	}

	_, err := f.ask("token", "POST", "/api/token",
		map[string]any{"userId": f.user}, &token)

	for deadline := time.Now().Add(patience); err == nil && token.Status != "ACTIVE"; {
		if time.Now().After(deadline) {
			return fmt.Errorf("is not let in")
		}
		time.Sleep(time.Duration(token.NextPoll * float64(time.Second)))
		_, err = f.ask("poll", "GET", fmt.Sprint("/api/token/", f.user), nil, &token)
	}

	return err
}

func (f *flow) choose() (schedule, concert int64, err error) {
	var concerts []struct{ ConcertID int64 }
	var schedules []struct{ ScheduleID int64 }

	if _, err = f.ask("concerts", "GET", "/api/concerts", nil, &concerts); err != nil {
		return
	}
	if len(concerts) == 0 {
		return 0, 0, fmt.Errorf("there is no concert")
	}

	concert = concerts[rand.Intn(len(concerts))].ConcertID

	if _, err = f.ask("schedules", "GET",
		fmt.Sprint("/api/concerts/schedules/", concert), nil, &schedules); err != nil {
		return
	}
	if len(schedules) == 0 {
		return 0, 0, fmt.Errorf("there is no schedule")
	}

	return schedules[rand.Intn(len(schedules))].ScheduleID, concert, nil
}

func (f *flow) reserve(schedule, concert int64) (id, price int64, err error) {
	for range 20 {
		var seats []struct{ SeatID int64 }
		var made struct{ ReservationID, TotalPrice int64 }
		var status int

		if _, err = f.ask("seats", "GET",
			fmt.Sprint("/api/concerts/seats/", schedule), nil, &seats); err != nil {
			return
		}
		if len(seats) == 0 {
			return 0, 0, fmt.Errorf("there is no seat")
		}

		status, err = f.ask("reserve", "POST", "/api/reservations/seats",
			map[string]any{"userId": f.user, "concertId": concert,
				"scheduleId": schedule,
				"seatIdList": []int64{seats[rand.Intn(len(seats))].SeatID}}, &made)

		if status != http.StatusConflict {
			return made.ReservationID, made.TotalPrice, err
		}
		atomic.AddInt64(&f.all.Taken, 1)
	}

	return 0, 0, fmt.Errorf("others had 20 seats first")
}

func (f *flow) pay(reservation, price int64) error {
	var paid struct{ Status string }
	var balance struct{ Amount int64 }

	if _, err := f.ask("pay", "POST", "/api/reservations/payments",
		map[string]any{"userId": f.user, "reservationId": reservation,
			"amount": price}, &paid); err != nil {
		return err
	}
	if paid.Status != "PAID" {
		return fmt.Errorf("the payment is %q", paid.Status)
	}

	_, err := f.ask("balance", "GET", fmt.Sprint("/api/balance/", f.user), nil, &balance)
	return err
}

// ask makes a request; 200 with what into can hold, else an error.
func (f *flow) ask(step, method, path string, body, into any) (int, error) {
	var in io.Reader

	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		in = bytes.NewReader(text)
	}

	request, err := http.NewRequest(method, "https://localhost"+path, in)
	if err != nil {
		return 0, err
	}
	request.Header.Set("userId", fmt.Sprint(f.user))
	request.Header.Set("Content-Type", "application/json")

	atomic.AddInt64(&f.all.Requests, 1)
	started := time.Now()
	answer, err := f.client.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", step, err)
	}

	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	f.measure(step, time.Since(started))

	if err != nil {
		return 0, fmt.Errorf("%s: %w", step, err)
	}
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, fmt.Errorf("%s: %d %s", step, answer.StatusCode, text)
	}

	return answer.StatusCode, json.Unmarshal(text, into)
}
