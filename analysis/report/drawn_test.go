package report

import (
	"bytes"
	"errors"
	"testing"

	"hangbench/analysis/exhibit"
)

// TestStringsDrawn: figures with characters that their font lacks are drawn too.
func TestStringsDrawn(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"\U0001f600 \U00020000", "日本語", "x\u0301\u0301", "\u00ad\u3000",
		"مرحبا", "(a) \\( %", "\U0010fffd\ufffd"} {
		run := testRun(2)
		for i := range run.Trials {
			tr := &run.Trials[i]
			tr.Scenario, tr.Suite, tr.GuestKernel, tr.Driver = s, s, s, s
			if tr.Watched() {
				tr.Mechanism += s
			}
		}
		figures, err := exhibit.Draw(setOf(t, run))
		if err != nil || len(figures) == 0 {
			t.Fatalf("%d figures, %v", len(figures), err)
		}
		for _, f := range figures {
			var png, pdf bytes.Buffer
			if err := errors.Join(f.WritePNG(&png), f.WritePDF(&pdf)); err != nil || png.Len() == 0 || pdf.Len() == 0 {
				t.Errorf("%s with %q: %v", f.Name, s, err)
			}
		}
	}
}
