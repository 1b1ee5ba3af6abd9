package suites

import (
	"embed"
	"fmt"
	"os"
	"path"
	"strings"
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

// Load reads the suite of that name, which is one of Builtin or else the path
// of a file ending in .yaml or .yml.
func Load(name string, v Vocabulary) (*Suite, error) {
	if data, err := embedded.ReadFile(name + ".yaml"); err == nil {
		return Parse(name+".yaml", data, v)
	}
	if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" {
		return nil, fmt.Errorf("suite %q is not built in%s: give one of %s, or the path of a .yaml file",
			name, DidYouMean(name, Builtin()), strings.Join(Builtin(), ", "))
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read suite: %w", err)
	}
	return Parse(name, data, v)
}
