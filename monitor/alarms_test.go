package monitor

import (
	"slices"
	"testing"

	"hangbench/monitor/detect"
)

// TestAlarms: an alarm lasts from the first verdict to the end of the hang, whatever
// other classes are named meanwhile. Every verdict and recovery is reported, and the
// number of alarms is bounded.
func TestAlarms(t *testing.T) {
	t.Parallel()
	var news []News
	a := newAlarms(func(n News) { news = append(news, n) })
	a.end(5) // of nothing
	a.raise(detect.Verdict{TimeNS: 10, Class: detect.ClassSpin})
	a.raise(detect.Verdict{TimeNS: 20, Class: detect.ClassHard})
	a.recovered(detect.Recovery{TimeNS: 30})
	a.end(40)
	a.raise(detect.Verdict{TimeNS: 50, Class: detect.ClassSoft})
	want := []Alarm{{detect.ClassSpin, 10, 30}, {detect.ClassSoft, 50, 0}}
	if got := a.all(); !slices.Equal(got, want) {
		t.Errorf("alarms %+v, want %+v", got, want)
	}
	a.end(45) // a clock that went back
	if got := a.all(); got[1].EndNS != 50 {
		t.Errorf("an alarm ends before it begins: %+v", got[1])
	}
	if len(news) != 4 || news[0].Verdict.TimeNS != 10 || news[2].Recovered.TimeNS != 30 || news[3].Verdict.TimeNS != 50 {
		t.Errorf("news %+v", news)
	}
	if v := <-a.first; v.Class != detect.ClassSpin || v.TimeNS != 10 {
		t.Errorf("the first verdict is %+v", v)
	}
	for now := int64(100); now < 10_000; now++ {
		a.end(now)
		a.raise(detect.Verdict{TimeNS: now, Class: detect.ClassSpin})
	}
	if n := len(a.all()); n != MaxAlarms {
		t.Errorf("%d alarms are kept", n)
	}
	a.raise(detect.Verdict{}) // more than are kept: the last stays as it is
	a.end(20_000)
	if last := a.all()[MaxAlarms-1]; last.EndNS >= 10_000 {
		t.Errorf("the last alarm that is kept: %+v", last)
	}
}

// TestCausedByMonitor: one finding is enough without an alarm, two are needed while
// one is active.
func TestCausedByMonitor(t *testing.T) {
	t.Parallel()
	a := newAlarms(nil)
	for range 2 {
		if !a.causedByMonitor() {
			t.Error("without an alarm a livelock is not the monitor's")
		}
	}
	for range 2 { // each alarm anew
		a.raise(detect.Verdict{TimeNS: 1, Class: detect.ClassSpin})
		if a.causedByMonitor() {
			t.Error("the first finding during an alarm decides")
		}
		a.raise(detect.Verdict{TimeNS: 2, Class: detect.ClassHard}) // the same alarm
		if !a.causedByMonitor() {
			t.Error("the second finding during an alarm does not decide")
		}
		a.end(3)
	}
}
