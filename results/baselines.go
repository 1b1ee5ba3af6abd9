package results

import "fmt"

// Baselines is what the detectors that Linux and Xen ship said in a trial.
type Baselines struct {
	// Setting is how they were set: default, minimum (the smallest thresholds that
	// the kernel takes) or xen (default, and Xen's domain watchdog patted).
	Setting string `json:"setting"`
	// WatchedNS is for how long after the fault they were listened to; of a control,
	// after they were armed. A detector without a report is right-censored here.
	WatchedNS int64 `json:"watched_ns"`
	// Detectors has one entry for each that there is, armed or not.
	Detectors []Baseline `json:"detectors"`
}

// Baseline is one of these detectors in one trial.
type Baseline struct {
	Detector string `json:"detector"` // soft-lockup, hard-lockup, rcu-stall, hung-task, workqueue, panic, xen
	// Armed says that the guest has the detector and it is on. The others are absent
	// and miss nothing.
	Armed       bool  `json:"armed"`
	ThresholdNS int64 `json:"threshold_ns,omitempty"` // as its own setting gives it; 0 without one
	// FromNS and ToNS are when it was predicted to fire after a fault that it can
	// see, from threshold and source; 0 without a prediction.
	FromNS int64 `json:"from_ns,omitempty"`
	ToNS   int64 `json:"to_ns,omitempty"`

	Detected bool `json:"detected"`
	// DetectNS is the first report minus T0, by the time in the kernel's log, brought
	// to dom0's clock.
	DetectNS *int64 `json:"detect_ns,omitempty"`
	Reports  int    `json:"reports,omitempty"` // from T0 on
	// FalseAlarms are reports without a fault or before it.
	FalseAlarms int    `json:"false_alarms,omitempty"`
	VCPU        *int   `json:"vcpu,omitempty"` // of the first report, as are the others
	Task        string `json:"task,omitempty"`
	Text        string `json:"text,omitempty"`
}

func (b *Baselines) validate() error {
	if b.Setting == "" {
		return fmt.Errorf("baselines without a setting")
	}
	if b.WatchedNS < 0 {
		return fmt.Errorf("baselines watched for %d ns", b.WatchedNS)
	}
	seen := make(map[string]bool)
	for _, d := range b.Detectors {
		switch {
		case d.Detector == "":
			return fmt.Errorf("baseline without a detector")
		case seen[d.Detector]:
			return fmt.Errorf("baseline %s stands there twice", d.Detector)
		case d.ThresholdNS < 0 || d.FromNS < 0 || d.ToNS < d.FromNS:
			return fmt.Errorf("baseline %s: threshold %d ns, predicted from %d to %d ns", d.Detector, d.ThresholdNS, d.FromNS, d.ToNS)
		case d.Detected != (d.DetectNS != nil) || d.Detected != (d.Reports > 0):
			return fmt.Errorf("baseline %s: detected, detect_ns and reports contradict each other", d.Detector)
		case d.DetectNS != nil && *d.DetectNS < 0:
			return fmt.Errorf("baseline %s: reported %d ns before the fault, which is a false alarm", d.Detector, -*d.DetectNS)
		case d.Detected && !d.Armed:
			return fmt.Errorf("baseline %s: detected, and not armed", d.Detector)
		case d.FalseAlarms < 0 || d.Reports < 0:
			return fmt.Errorf("baseline %s: %d reports, %d false alarms", d.Detector, d.Reports, d.FalseAlarms)
		}
		seen[d.Detector] = true
	}
	return nil
}
