package suites

import (
	"embed"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"hangbench/results"
)

//go:embed *.yaml
var embedded embed.FS

// Builtin returns the names of the suites that come with the program, sorted.
func Builtin() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		panic("suites: embedded folder: " + err.Error()) // cannot happen: it is part of the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// mostBytes is the largest size of a suite's file. The largest built-in suite has 3 kB.
const mostBytes = 1 << 20

// Load reads the suite of that name, which is one of Builtin or else the path
// of a file ending in .yaml or .yml.
func Load(name string, v Vocabulary) (*Suite, error) {
	if data, err := embedded.ReadFile(name + ".yaml"); err == nil {
		return Parse(name+".yaml", data, v)
	}
	if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" {
		if _, err := os.Stat(name); err == nil && name != "" {
			return nil, fmt.Errorf("%s is no suite: the name of a suite's file ends in .yaml or .yml", name)
		}
		return nil, fmt.Errorf("suite %q is not built in%s: give one of %s, or the path of a .yaml file",
			name, DidYouMean(name, Builtin()), strings.Join(Builtin(), ", "))
	}
	f, err := results.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("read suite: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read suite: %w", err)
	}
	if len(data) > mostBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB, which no suite is", name, mostBytes>>20)
	}
	return Parse(name, data, v)
}
