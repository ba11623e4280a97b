// Go's own HTTP client: http HOST PORT COUNT h1|h2c prints each answer on a line.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func run(words []string) error {
	if len(words) != 4 {
		return fmt.Errorf("usage: http HOST PORT COUNT h1|h2c")
	}
	count, err := strconv.Atoi(words[2])
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(words[3] == "h1")
	protocols.SetUnencryptedHTTP2(words[3] == "h2c")
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	for call := range count {
		url := fmt.Sprintf("http://%s:%s/call/%d", words[0], words[1], call)
		answer, err := client.Post(url, "text/plain", strings.NewReader(fmt.Sprint("body ", call)))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return err
		}
		fmt.Println(answer.StatusCode, answer.Proto, string(body))
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
