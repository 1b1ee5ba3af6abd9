package trial_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hangbench/results"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is a file with the whole records of a test's rows, what was done to the guest,
// and what the log was told. A row that changes, and one that is gone, fails the test.
type golden struct {
	path string
	want map[string]string
	mu   sync.Mutex
	got  map[string]string
}

// openGolden opens testdata/NAME.golden. When the test has ended, it is compared with
// the rows that were added.
func openGolden(t *testing.T, name string) *golden {
	t.Helper()
	g := &golden{path: filepath.Join("testdata", name+".golden"), want: map[string]string{}, got: map[string]string{}}
	text, err := os.ReadFile(g.path)
	if err != nil && !*update {
		t.Fatalf("%v (go test -update makes it)", err)
	}
	for row := range strings.SplitSeq(string(text), "=== ") {
		name, body, _ := strings.Cut(row, "\n")
		if name != "" {
			g.want[name] = body
		}
	}
	run := flag.Lookup("test.run").Value.String()
	t.Cleanup(func() {
		if *update {
			g.write(t)
			return
		}
		for name := range g.want {
			if g.got[name] == "" && !strings.Contains(run, "/") {
				t.Errorf("%s has a row %q that no test has", g.path, name)
			}
		}
	})
	return g
}

func (g *golden) write(t *testing.T) {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(g.got)) {
		fmt.Fprintf(&b, "=== %s\n%s", name, g.got[name])
	}
	if err := os.WriteFile(g.path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// check compares a row. err is the error of the trial.
func (g *golden) check(t *testing.T, name string, rec results.Trial, err error, w *world) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "calls: %s\n", strings.Join(w.calls, ", "))
	for i, s := range w.stages {
		fmt.Fprintf(&b, "stage at %d: %s\n", w.stagesAt[i], s)
	}
	fmt.Fprintf(&b, "requests: %v, orders %v\n", w.asked, w.orders)
	fmt.Fprintf(&b, "told: fault %v, removed %v; ended at %d\n", w.toldT0, w.toldRemoved, w.now)
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	} else {
		if err := rec.Validate(); err != nil {
			t.Errorf("the record cannot be stored: %v", err)
		}
		text, err := json.MarshalIndent(rec, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.got[name] != "" {
		t.Errorf("row %q was checked twice", name)
	}
	g.got[name] = b.String()
	if !*update && b.String() != g.want[name] {
		t.Errorf("row %q of %s (-want +got; go test -update rewrites it):\n%s", name, g.path,
			cmp.Diff(strings.Split(g.want[name], "\n"), strings.Split(b.String(), "\n")))
	}
}
