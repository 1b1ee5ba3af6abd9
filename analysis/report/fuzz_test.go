package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// FuzzRender: whatever passes for records, a page can be made of them, with every
// table and figure, and nothing in it is markup that we did not write.
func FuzzRender(f *testing.F) {
	var seed bytes.Buffer
	enc := json.NewEncoder(&seed)
	for _, tr := range madeup.Trials(1)[:3] {
		if err := enc.Encode(tr); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed.Bytes())
	f.Add([]byte(`{"schema":1,"outcome":"detected","detect_ns":0,"deadline_ns":1,"host":"lab","mechanism":"x",` +
		`"guest":{"progress_ratio":1e308}}`))
	f.Add([]byte(`{"schema":1,"outcome":"missed","deadline_ns":9223372036854775807,"window_ns":-5,"host":"lab",` +
		`"mechanism":"<script>","ept":{"total":18446744073709551615,"lazy":18446744073709551615}}`))
	f.Add([]byte(`{"schema":1,"outcome":"clean","host":"lab","mechanism":"none","window_ns":1,` +
		`"guest":{"progress_ratio":-7}}`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		run := testRun(1)
		run.Trials = nil
		for tr, err := range results.ReadTrials(bytes.NewReader(lines)) {
			if err == nil {
				tr.Host = "lab"
				run.Trials = append(run.Trials, tr)
			}
			if len(run.Trials) == 20 {
				break
			}
		}
		var page bytes.Buffer
		if err := Render(&page, run, setOf(t, run)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(page.String()), "<script") {
			t.Error("a record became markup")
		}
	})
}

// TestRenderExtreme: numbers at the ends of what a record can have break no table and no
// figure.
func TestRenderExtreme(t *testing.T) {
	for _, ns := range []int64{1, 1e9, 1 << 52} {
		for _, ratio := range []float64{0, math.SmallestNonzeroFloat64, 1, 1000} {
			for _, n := range []uint64{0, 1, 1 << 52} {
				run := testRun(2)
				for i := range run.Trials {
					tr := &run.Trials[i]
					tr.WindowNS, tr.Alarms = ns, nil
					if tr.Kind == results.Fault {
						tr.DeadlineNS, tr.HangNS = ns, &ns
					}
					if tr.DetectNS != nil {
						tr.DetectNS = &ns
					}
					tr.Guest.ProgressRatio = &ratio
					tr.EPT = results.EPT{Total: n, Lazy: n, TraceLost: n}
					tr.Events = results.Events{Delivered: n, Steps: n, Signals: n, Switches: n}
					if err := tr.Validate(); err != nil {
						t.Fatal(err)
					}
				}
				var page bytes.Buffer
				if err := Render(&page, run, setOf(t, run)); err != nil {
					t.Errorf("%d ns, ratio %g, counts %d: %v", ns, ratio, n, err)
				}
			}
		}
	}
}
