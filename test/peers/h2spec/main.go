// h2spec judges an HTTP/2 server behind mutual TLS 1.3.
//
//	h2spec-judge ADDRESS CERT KEY generic             its cases as they are
//	h2spec-judge ADDRESS CERT KEY connect AUTHORITY   each of its requests becomes a CONNECT to AUTHORITY
//
// It prints a line of JSON for each case: {"id", "name", "outcome": "passed"|"failed"|"skipped", "saw"}.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
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
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) < 4 {
		return fmt.Errorf("usage: h2spec-judge ADDRESS CERT KEY generic | connect AUTHORITY")
	}
	certificate, err := tls.LoadX509KeyPair(words[1], words[2])
	if err != nil {
		return err
	}
	authority := ""
	if words[3] == "connect" {
		authority = words[4]
	}
	shim, err := listen(words[0], certificate, authority)
	if err != nil {
		return err
	}
	port := shim.Addr().(*net.TCPAddr).Port
	asked := &config.Config{
		Host: "127.0.0.1", Port: port, Path: "/", Timeout: 3 * time.Second, MaxHeaderLen: 4000, Strict: true,
	}
	// h2spec prints its own report to the standard output, which is ours for JSON.
	report := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(asked)
		if err := tell(report, group); err != nil {
			return err
		}
	}
	return nil
}

func tell(report *json.Encoder, group *spec.TestGroup) error {
	for _, test := range append(group.Tests, group.StrictTests...) {
		if test.Result == nil {
			continue
		}
		told := result{ID: fmt.Sprintf("%s/%d", group.ID(), test.Result.Sequence), Name: test.Desc, Outcome: "passed"}
		if test.Result.Skipped {
			told.Outcome = "skipped"
		} else if test.Result.Failed {
			told.Outcome = "failed"
			told.Saw = test.Result.Error.Error()
		}
		if err := report.Encode(told); err != nil {
			return err
		}
	}
	for _, inner := range group.Groups {
		if err := tell(report, inner); err != nil {
			return err
		}
	}
	return nil
}
