package tables

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/analysis/table"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// report reads the golden report of one of the measuring packages.
func report[Report any](t *testing.T, of string) *Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", of, "testdata", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// text renders the tables for a terminal.
func text(t *testing.T, all ...*table.Table) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, tab := range all {
		if err := tab.Write(&b, table.Terminal); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got\n%s", name, got)
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	r := report[event.Report](t, "event")
	got := text(t, append(Event(r), Breakdown(r))...)
	r.Host, r.Series[0].Alive = "xen", false
	r.Compute()
	got = append(got, text(t, Event(r)...)...)
	golden(t, "event.txt", got)
}

// TestEventParts: tables of what was not measured are left out, and what LibVMI
// was found to do is a note.
func TestEventParts(t *testing.T) {
	t.Parallel()
	r := &event.Report{Host: "xen"}
	if all := Event(r); len(all) != 0 {
		t.Errorf("%d tables of an empty report", len(all))
	}
	r.Reads = &event.Reads{Kernel: "no such symbol", Frame: "two events", Stale: true}
	got := string(text(t, Event(r)...))
	for _, want := range []string{"no such symbol", "two events", "stale  "} {
		if !strings.Contains(got, want) {
			t.Errorf("the table of reads lacks %q:\n%s", want, got)
		}
	}
}

func TestMisses(t *testing.T) {
	t.Parallel()
	golden(t, "misses.txt", text(t, Misses(report[misses.Report](t, "misses"))))
}
