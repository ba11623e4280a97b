// Gateway API's conformance suite as a program: its settings come as flags, as those of `go test` do. With the word `manifests` it prints
// what the suite will apply before all tests of meshes, by which the image is known that its pods run.
package main

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "manifests" {
		text, err := conformance.Manifests.ReadFile("mesh/manifests.yaml")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(text)
		return
	}
	tests := []testing.InternalTest{{Name: "TestConformance", F: conformance.RunConformance}}
	testing.Main(regexp.MatchString, tests, nil, nil)
}
