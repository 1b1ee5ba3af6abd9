package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// This file brings records and manifests up to date that earlier programs wrote with
// the same schema. Nothing here changes a file: see the readers.

// upgrade fills in what a record of an earlier program does not say. raw is the record
// as it was read.
func (t *Trial) upgrade(raw []byte) error {
	if t.Kind == "" {
		t.Kind = kindOf(t)
	}
	if t.Kernel == "" {
		t.Kernel = kernelName(t.GuestKernel)
	}
	if !bytes.Contains(raw, []byte(`"baselines":`)) {
		return nil
	}
	var old struct{ Baselines *baselines }
	if err := json.Unmarshal(raw, &old); err != nil {
		return fmt.Errorf("not a trial record: %w", err)
	}
	if old.Baselines != nil && t.Findings == nil {
		t.Watchdogs, t.Findings = old.Baselines.Setting, old.Baselines.findings()
	}
	return nil
}

// baselines held the reports of the watchdogs of Linux and Xen before findings did.
type baselines struct {
	Setting   string `json:"setting"`
	WatchedNS int64  `json:"watched_ns"`
	Detectors []struct {
		Detector    string `json:"detector"`
		Armed       bool   `json:"armed"`
		ThresholdNS int64  `json:"threshold_ns"`
		FromNS      int64  `json:"from_ns"`
		ToNS        int64  `json:"to_ns"`
		DetectNS    *int64 `json:"detect_ns"`
		Reports     int    `json:"reports"`
		FalseAlarms int    `json:"false_alarms"`
		VCPU        *int   `json:"vcpu"`
		Task        string `json:"task"`
		Text        string `json:"text"`
	} `json:"detectors"`
}

func (b *baselines) findings() []Finding {
	var all []Finding
	for _, d := range b.Detectors {
		f := Finding{
			Observer: d.Detector, Armed: d.Armed, WatchedNS: b.WatchedNS, ThresholdNS: d.ThresholdNS, FromNS: d.FromNS,
			ToNS: d.ToNS,
			AtNS: d.DetectNS, Reports: d.Reports, FalseAlarms: d.FalseAlarms, VCPU: d.VCPU, Task: d.Task,
		}
		if d.Text != "" {
			f.Evidence = []string{d.Text}
		}
		all = append(all, f)
	}
	return all
}

// kindOf derives what the scenario of an old record is for. Only faults have an
// expected class or a deadline. All scenarios that measure a workload were named so.
func kindOf(t *Trial) Kind {
	switch {
	case t.Expected != "" || t.DeadlineNS > 0 || t.Outcome == Undone || t.Outcome == Detected || t.Outcome == Missed:
		return Fault
	case t.Workload != nil || strings.HasPrefix(t.Scenario, "workload-"):
		return Measured
	}
	return Control
}

// cloudRelease is the release of the kernels that old runs had, as in
// 6.12.118+deb13-cloud-amd64.
var cloudRelease = regexp.MustCompile(`^([0-9]+\.[0-9]+)\..*-cloud-amd64$`)

// kernelName derives the name of the guest kernel from its release; empty if it is
// none of Debian's cloud kernels.
func kernelName(release string) string {
	if m := cloudRelease.FindStringSubmatch(release); m != nil {
		return "cloud-" + m[1]
	}
	return ""
}

// upgradeRun fills in what only the other trials of an old run tell. A suite set the
// watchdogs for all trials alike, but a trial that was invalid before they were armed
// did not record it.
func upgradeRun(trials []Trial) {
	setting := ""
	for i := range trials {
		if trials[i].Watchdogs != "" {
			setting = trials[i].Watchdogs
			break
		}
	}
	if setting == "" {
		return
	}
	for i := range trials {
		if trials[i].Watchdogs == "" {
			trials[i].Watchdogs = setting
		}
	}
}

// legacyArms are the mechanisms that there were before manifests recorded them.
func legacyArms() Arms {
	page := func(view, twin string) ArmInfo { return ArmInfo{PageTrap: true, View: view, TwinOf: twin} }
	return Arms{
		Unwatched:          {},
		"poll":             {},
		"cr3":              {},
		"int3-step":        {View: HostView},
		"int3-altp2m":      {View: Altp2mView, TwinOf: "int3-step"},
		"write-altp2m":     page(Altp2mView, ""),
		"exec-step":        page(HostView, ""),
		"exec-emulate":     page(HostView, ""),
		"exec-altp2m":      page(Altp2mView, "exec-step"),
		"exec-altp2m-fast": page(Altp2mView, "exec-step"),
	}
}

// legacySlowClasses are the slow classes that there were before manifests recorded them.
func legacySlowClasses() []string {
	return []string{"soft", "io", "blocked", "forkstorm", "thrash"}
}
