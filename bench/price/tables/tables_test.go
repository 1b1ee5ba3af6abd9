package tables

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/analysis/golden"
	"hangbench/analysis/table"
	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
)

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

func TestEvent(t *testing.T) {
	t.Parallel()
	r := report[event.Report](t, "event")
	got := text(t, append(Event(r), Breakdown(r))...)
	r.Host, r.Series[0].Alive = "xen", false
	r.Compute()
	got = append(got, text(t, Event(r)...)...)
	golden.Compare(t, "event.txt", got)
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

// TestPrices: a mechanism that only the second Xen has is compared with itself, and a price
// below the error of measuring with nothing.
func TestPrices(t *testing.T) {
	t.Parallel()
	first, second := report[event.Report](t, "event"), report[event.Report](t, "event")
	second.Xen = "4.17.7"
	for i := range second.Series[0].Blocks {
		second.Series[0].Blocks[i].Ours.Events /= 2
	}
	second.Compute()
	got := text(t, Prices([]*event.Report{first, second}))
	first.Series = first.Series[1:]
	first.Compute()
	first.Rows[0].OursInstr = -3
	golden.Compare(t, "prices.txt", append(got, text(t, Prices([]*event.Report{first, second}))...))
}

func TestMisses(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "misses.txt", text(t, Misses(report[misses.Report](t, "misses"))))
}
