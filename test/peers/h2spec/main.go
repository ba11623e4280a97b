// h2spec judges an HTTP/2 server, behind mutual TLS 1.3 or without TLS.
//
//	h2spec-judge ADDRESS CERT KEY generic             its cases as they are
//	h2spec-judge ADDRESS CERT KEY connect AUTHORITY   each of its requests becomes a CONNECT to AUTHORITY
//	h2spec-judge ADDRESS - - plain                    its cases as they are, without TLS
//
// Words behind these name the cases to run: "http2/4.2/1", or "http2/4.2" for all of that section. Without them all cases run.
//
// It prints a line of JSON for each case: {"id", "name", "outcome": "passed"|"failed"|"skipped", "saw", "began", "ended", "said"}.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

type result struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Saw     string `json:"saw,omitempty"`
	// Unix time in milliseconds.
	Began int64 `json:"began"`
	Ended int64 `json:"ended"`
	// Of each connection of a case that failed: the last frames of both ends, and how they ended.
	Said [][]string `json:"said,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) < 4 {
		return fmt.Errorf("usage: h2spec-judge ADDRESS CERT KEY generic | connect AUTHORITY | plain")
	}
	if words[3] == "plain" {
		return judgePlain(words[0], words[4:])
	}
	certificate, err := tls.LoadX509KeyPair(words[1], words[2])
	if err != nil {
		return err
	}
	authority, cases := "", words[4:]
	if words[3] == "connect" {
		if len(cases) == 0 {
			return errors.New("connect needs an AUTHORITY")
		}
		authority, cases = cases[0], cases[1:]
	}
	shim, err := listen(words[0], certificate, authority)
	if err != nil {
		return err
	}
	return judgeAll("127.0.0.1", shim.Addr().(*net.TCPAddr).Port, cases, shim)
}

// judgePlain needs no shim: h2spec speaks to the server itself.
func judgePlain(address string, cases []string) error {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return err
	}
	return judgeAll(host, port, cases, &shim{})
}

func judgeAll(host string, port int, cases []string, shim *shim) error {
	asked := &config.Config{
		Host: host, Port: port, Path: "/", Timeout: 3 * time.Second, MaxHeaderLen: 4000, Strict: true,
		Sections: cases,
	}
	// h2spec prints its own report to the standard output, which is ours for JSON.
	report := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		if err := judge(asked, group, shim, report); err != nil {
			return err
		}
	}
	return nil
}

// judge runs the cases of a group one after the other, as its own Test does, and tells the outcome of each at once.
func judge(asked *config.Config, group *spec.TestGroup, shim *shim, report *json.Encoder) error {
	for i, test := range append(group.Tests, group.StrictTests...) {
		shim.begin()
		began := time.Now()
		if err := test.Test(asked, i+1); err != nil {
			return fmt.Errorf("%s/%d: %w", group.ID(), i+1, err)
		}
		// Not one of the cases that were asked for.
		if test.Result == nil {
			continue
		}
		told := result{
			ID: fmt.Sprintf("%s/%d", group.ID(), test.Result.Sequence), Name: test.Desc, Outcome: "passed",
			Began: began.UnixMilli(), Ended: time.Now().UnixMilli(),
		}
		if test.Result.Skipped {
			told.Outcome = "skipped"
		} else if test.Result.Failed {
			told.Outcome = "failed"
			told.Saw = test.Result.Error.Error()
			told.Said = shim.said()
		}
		if err := report.Encode(told); err != nil {
			return err
		}
	}
	for _, inner := range group.Groups {
		if err := judge(asked, inner, shim, report); err != nil {
			return err
		}
	}
	return nil
}
