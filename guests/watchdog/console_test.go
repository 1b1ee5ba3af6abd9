package watchdog

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestConsoles reads consoles that were recorded in the lab, whole, from the
// arming of the watchdogs on (bench/labhost, TestBaselineWindows).
func TestConsoles(t *testing.T) {
	t.Parallel()
	logs, err := filepath.Glob(filepath.Join("testdata", "consoles", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no recorded consoles (%v)", err)
	}
	seen := make(map[Detector]bool)
	for _, log := range logs {
		name := strings.TrimSuffix(filepath.Base(log), ".log")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			var p Parser
			p.Feed(text, 0)
			if p.Armed() == nil {
				t.Error("the watchdogs are not armed")
			}
			var got bytes.Buffer
			fmt.Fprintln(&got, p.Armed())
			for _, f := range p.Findings() {
				seen[f.Detector] = true
				fmt.Fprintf(&got, "%s at %v, vCPU %d, task %q: %s\n", f.Detector, f.Printk, f.VCPU, f.Task, f.Text)
			}
			golden := filepath.Join("testdata", "consoles", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (go test -update makes it)", err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s differs (go test -update rewrites it); got\n%s\nwant\n%s", golden, &got, want)
			}
		})
	}
	for _, d := range []Detector{SoftLockup, RCUStall, HungTask, Panic} {
		if !seen[d] {
			t.Errorf("no recorded console has a report of %s", d)
		}
	}
}
