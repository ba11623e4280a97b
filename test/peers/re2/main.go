// Go's regexp, RE2's sibling: each line is an expression with texts, each answer which of them it takes as a whole.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
)

type asked struct {
	Expression string   `json:"expression"`
	Texts      []string `json:"texts"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	Takes []bool `json:"takes"`
}

func judge(line asked) answer {
	expression, err := regexp.Compile(line.Expression)
	if err != nil {
		return answer{Error: err.Error(), Takes: []bool{}}
	}
	// The leftmost and longest match is the whole text, if any is.
	expression.Longest()
	takes := make([]bool, len(line.Texts))
	for at, text := range line.Texts {
		found := expression.FindStringIndex(text)
		takes[at] = found != nil && found[0] == 0 && found[1] == len(text)
	}
	return answer{Takes: takes}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var line asked
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err)
		}
		if err := answers.Encode(judge(line)); err != nil {
			panic(err)
		}
	}
}
