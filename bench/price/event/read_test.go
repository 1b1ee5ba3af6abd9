package event

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// written is the golden report, as the command prints it.
func written(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRead(t *testing.T) {
	t.Parallel()
	b := written(t)
	r, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var want Report
	if err := json.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(*r, want) {
		t.Errorf("%+v, %v", r, err)
	}
	for name, tc := range map[string]struct {
		change func(r *Report)
		says   string
	}{
		"another schema":     {func(r *Report) { r.Schema = 2 }, "schema is 2"},
		"host":               {func(r *Report) { r.Host = "moon" }, `host is "moon"`},
		"no clock":           {func(r *Report) { r.PerSecond = 0 }, "instr_per_sec is 0"},
		"no series":          {func(r *Report) { r.Series = nil }, "no series"},
		"unknown mechanism":  {func(r *Report) { r.Series[0].Mechanism = "poll" }, `mechanism "poll"`},
		"no block":           {func(r *Report) { r.Series[0].Blocks = nil }, "has 0 blocks"},
		"no time":            {func(r *Report) { r.Series[0].Blocks[0].C.NS = 0 }, "window of 0 ns"},
		"time runs back":     {func(r *Report) { r.Series[0].Blocks[0].Ours.Dom0NS = -1 }, "-1 ns of dom0"},
		"no work":            {func(r *Report) { r.Series[0].Blocks[0].Base.Work = 0 }, "without work or events"},
		"no event":           {func(r *Report) { r.Series[0].Blocks[0].Ours.Events = 0 }, "without work or events"},
		"part":               {func(r *Report) { r.Series[0].TimedOurs.Parts["monitor"] = 1e300 }, "1e+300 cycles"},
		"a count":            {func(r *Report) { r.Series[0].Blocks[0].Ours.Events++ }, "do not follow"},
		"a row":              {func(r *Report) { r.Rows[0].OursInstr++ }, "do not follow"},
		"a price of polling": {func(r *Report) { r.Poll[0].Share = 0 }, "do not follow"},
	} {
		r, err := Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		tc.change(r)
		changed, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(bytes.NewReader(changed)); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	for name, text := range map[string]string{"empty": "", "another file": "mechanism,n", "two": string(b) + "{}"} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "no report") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(strings.NewReader(strings.Repeat(" ", maxFile+1))); err == nil {
		t.Error("a file of any size is read")
	}
}

// FuzzRead: what is read can be computed again and gives the same rows.
func FuzzRead(f *testing.F) {
	f.Add(written(f))
	f.Add([]byte(`{"schema":1,"host":"lab","instr_per_sec":1e8,"series":[{"mechanism":"cr3","blocks":[{}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, s := range r.Series {
			if ours, c := s.Prices(); len(ours) != len(s.Blocks) || len(c) != len(ours) {
				t.Errorf("%d and %d prices of %d blocks", len(ours), len(c), len(s.Blocks))
			}
		}
	})
}
