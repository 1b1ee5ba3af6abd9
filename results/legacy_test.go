package results

import (
	"encoding/json"
	"strings"
	"testing"
)

// read returns the records of lines as the reader gives them.
func read(t *testing.T, lines ...string) []Trial {
	t.Helper()
	var all []Trial
	for tr, err := range ReadTrials(strings.NewReader(strings.Join(lines, "\n") + "\n")) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tr)
	}
	return all
}

// TestOldRecords: a record without kind, kernel name and watchdogs gets them.
func TestOldRecords(t *testing.T) {
	t.Parallel()
	const head = `{"schema":1,"suite":"s","host":"lab","mechanism":"none","driver":"xenctrl",` +
		`"guest_kernel":"6.12.118+deb13-cloud-amd64","vcpus":1,"memory_mib":160,"window_ns":2000000,`
	for _, tc := range []struct {
		rest string
		want Cell
	}{
		{`"scenario":"hard-lockup","outcome":"invalid","reason":"r","expected_class":"hard"}`,
			Cell{Scenario: "hard-lockup", Kind: Fault}},
		{`"scenario":"x","outcome":"missed","expected_class":"spin","deadline_ns":5}`, Cell{Scenario: "x", Kind: Fault}},
		{`"scenario":"x","outcome":"undone","expected_class":"spin","bounded_ms":1,"deadline_ns":1000000,` +
			`"undone_ns":1000000,"resumed_ns":1000001}`, Cell{Scenario: "x", Kind: Fault, BoundedMS: 1}},
		{`"scenario":"control-idle","outcome":"false_alarm"}`, Cell{Scenario: "control-idle", Kind: Control}},
		{`"scenario":"workload-cpu","outcome":"invalid","reason":"r"}`, Cell{Scenario: "workload-cpu", Kind: Measured}},
		{`"scenario":"control-idle","outcome":"clean","baselines":{"setting":"minimum","watched_ns":1,"detectors":null}}`,
			Cell{Scenario: "control-idle", Kind: Control, Watchdogs: "minimum"}},
		{`"scenario":"control-idle","kind":"fault","kernel":"mine","outcome":"invalid","reason":"r"}`,
			Cell{Scenario: "control-idle", Kind: Fault, Machine: Machine{Kernel: "mine"}}},
	} {
		tc.want.GuestKernel, tc.want.VCPUs, tc.want.MemoryMiB = "6.12.118+deb13-cloud-amd64", 1, 160
		tc.want.Arm = Arm{Unwatched, "xenctrl"}
		if tc.want.Kernel == "" {
			tc.want.Kernel = "cloud-6.12"
		}
		if got := read(t, head+tc.rest)[0].Cell; got != tc.want {
			t.Errorf("%s:\n%+v, want\n%+v", tc.rest, got, tc.want)
		}
	}
	if name := kernelName("6.1.0-57-cloud-amd64"); name != "cloud-6.1" {
		t.Errorf("6.1.0-57-cloud-amd64 is named %q", name)
	}
	if name := kernelName("7.3.1-custom"); name != "" {
		t.Errorf("a kernel of somebody's own is named %q", name)
	}
}

// TestOldRun: an invalid trial of an old run belongs to the cell of its repetitions,
// although it did not record the watchdogs' setting.
func TestOldRun(t *testing.T) {
	t.Parallel()
	trials := []Trial{{Cell: Cell{Kind: Control}}, {Cell: Cell{Kind: Control, Watchdogs: "default"}}}
	upgradeRun(trials)
	if trials[0].Cell != trials[1].Cell || trials[0].Watchdogs != "default" {
		t.Errorf("cells %+v and %+v", trials[0].Cell, trials[1].Cell)
	}
	none := []Trial{{}, {}}
	upgradeRun(none)
	if none[0].Watchdogs != "" {
		t.Errorf("watchdogs %q from nowhere", none[0].Watchdogs)
	}
}

// TestCellJSON: a cell's fields stand in the record by the names that they always had.
func TestCellJSON(t *testing.T) {
	t.Parallel()
	c := Cell{
		Scenario: "s", Kind: Fault, Arm: Arm{"m", "d"}, BoundedMS: 1, Watchdogs: "w", Thresholds: "io_ms 5",
		Machine: Machine{
			Kernel: "k", GuestKernel: "r", Type: "hvm", Boot: "distro", Programs: "p", XenRelease: "4.17",
			Superpages: true, VCPUs: 2, MemoryMiB: 160, Neighbours: 3,
		},
	}
	b, err := json.Marshal(Trial{Cell: c})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"scenario":"s"`, `"kind":"fault"`, `"mechanism":"m"`, `"driver":"d"`, `"kernel":"k"`, `"guest_kernel":"r"`,
		`"guest_type":"hvm"`, `"guest_boot":"distro"`,
		`"programs":"p"`, `"xen":"4.17"`,
		`"superpages":true`, `"vcpus":2`, `"memory_mib":160`, `"neighbours":3`, `"bounded_ms":1`,
		`"watchdogs":"w"`,
		`"thresholds":{"io_ms":5}`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	var back Trial
	if err := json.Unmarshal(b, &back); err != nil || back.Cell != c {
		t.Errorf("%+v, %v; want %+v", back.Cell, err, c)
	}
}

// TestSizes: a cell keeps what is a size and no other factor.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := Cell{
		Scenario: "s", Watchdogs: "w", BoundedMS: 5,
		Machine: Machine{Kernel: "k", GuestKernel: "r", Type: "hvm", Boot: "distro", Programs: "p", XenRelease: "4.17",
			Superpages: true, VCPUs: 2, MemoryMiB: 160, Neighbours: 3},
	}
	got := c.Sizes()
	if want := (Cell{Scenario: "s", BoundedMS: 5, Machine: Machine{VCPUs: 2, MemoryMiB: 160,
		Neighbours: 3}}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	before, after := c.Factors(), got.Factors()
	for i, f := range before {
		if f.Size != (after[i].Value == f.Value) {
			t.Errorf("factor %s: %q becomes %q", f.Name, f.Value, after[i].Value)
		}
	}
}
