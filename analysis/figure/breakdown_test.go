package figure

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"
)

func madeUpBreakdown() *Breakdown {
	bar := func(mechanism, loop string, n int, hyp, wake, monitor, kernel float64) BreakdownBar {
		return BreakdownBar{mechanism, loop, n, []BreakdownPart{{"hypervisor", hyp}, {"wakeup", wake}, {"monitor", monitor}, {"kernel", kernel}}}
	}
	return &Breakdown{Host: "lab", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
		bar("exec-step", "hangbench", 300, 30000, 12000, 2500, 6000), bar("exec-step", "C loop", 761, 32000, 22000, 1500, 6400),
		bar("cr3", "hangbench", 90, 31000, 15000, 2400, 6000), bar("cr3", "C loop", 92, 32500, 23000, 1400, 6300),
	}}
}

func TestBreakdown(t *testing.T) {
	b := madeUpBreakdown()
	var csv bytes.Buffer
	if err := b.WriteCSV(&csv); err != nil {
		t.Fatal(err)
	}
	golden(t, "breakdown.csv", csv.Bytes())
	golden(t, "breakdown.txt", []byte(b.Caption()))
	for _, b := range []*Breakdown{b, {Host: "xen"}, {Host: "lab", Bars: []BreakdownBar{{Mechanism: "cr3", Loop: "C loop"}}},
		{Host: "lab", Bars: []BreakdownBar{{Mechanism: "x", Loop: "y", Parts: []BreakdownPart{{"of no name", 5}}}}}} {
		var img bytes.Buffer
		if err := b.WritePNG(&img); err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(img.Bytes())); err != nil {
			t.Errorf("png: %v", err)
		}
		var svg bytes.Buffer
		if err := b.WriteSVG(&svg); err != nil {
			t.Fatal(err)
		}
		for dec := xml.NewDecoder(bytes.NewReader(svg.Bytes())); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("svg: %v", err)
			}
		}
		if !strings.Contains(svg.String(), "host: "+b.Host) {
			t.Error("the figure does not say which host it is of")
		}
	}
}
