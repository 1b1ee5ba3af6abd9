package detect

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestThresholds: every field has a name, can be set over its whole range and not
// beyond, and changes nothing else.
func TestThresholds(t *testing.T) {
	t.Parallel()
	list := ListThresholds()
	if fields := fields(reflect.TypeFor[Thresholds]()); len(list) != fields {
		t.Errorf("%d names for %d fields", len(list), fields)
	}
	seen := map[string]bool{}
	for _, th := range list {
		if seen[th.Name] || th.Summary == "" || th.Default < th.Min || th.Default > th.Max || th.Min < 1 {
			t.Errorf("bad threshold %+v", th)
		}
		seen[th.Name] = true
		now := DefaultThresholds()
		if v, ok := now.value(th.Name); !ok || v != th.Default {
			t.Errorf("%s is %d by default, want %d", th.Name, v, th.Default)
		}
		for _, v := range []int64{th.Min, th.Max} {
			if err := now.Set(th.Name, v); err != nil {
				t.Error(err)
			}
			if got, _ := now.value(th.Name); got != v {
				t.Errorf("%s is %d after it was set to %d", th.Name, got, v)
			}
		}
		for _, v := range []int64{th.Min - 1, th.Max + 1, -1} {
			if err := now.Set(th.Name, v); err == nil || !strings.Contains(err.Error(), th.Name) {
				t.Errorf("%s = %d: error %v", th.Name, v, err)
			}
		}
		if err := now.Set(th.Name, th.Default); err != nil || now != DefaultThresholds() {
			t.Errorf("%s changes something else: %+v", th.Name, now)
		}
	}
	if got, want := DefaultThresholds().Spin, 500*time.Millisecond; got != want {
		t.Errorf("spin is %v, want %v", got, want)
	}
}

func TestSetAll(t *testing.T) {
	t.Parallel()
	now := DefaultThresholds()
	err := now.SetAll(map[string]int64{"spin_ms": 50, "forkstorm_threads": 99})
	if err != nil || now.Spin != 50*time.Millisecond || now.ForkstormThreads != 99 {
		t.Errorf("%v, error %v", now, err)
	}
	err = now.SetAll(map[string]int64{"spinn_ms": 50, "soft_ms": 0, "hard_ms": 10})
	if err == nil || len(strings.Split(err.Error(), "\n")) != 2 || now.Hard != 10*time.Millisecond {
		t.Errorf("error %v, hard %v", err, now.Hard)
	}
	if _, ok := now.value("spinn_ms"); ok {
		t.Error("a threshold that is none")
	}
}

// TestList: every class is described, by falling severity, and every threshold but
// the shared ones belongs to a class.
func TestList(t *testing.T) {
	t.Parallel()
	type row struct {
		class Class
		waits bool
		early string // its first threshold
	}
	want := []row{
		{ClassPanic, false, ""}, {ClassSpin, false, "spin_ms"}, {ClassHard, false, "hard_ms"}, {ClassSoft, true, "soft_ms"},
		{ClassStopped, false, "stopped_ms"}, {ClassStarvation, true, "starvation_ms"},
		{ClassForkstorm, true, "forkstorm_ms"}, {ClassThrash, true, "thrash_ms"},
		{ClassIO, true, "io_ms"}, {ClassBlocked, true, "blocked_ms"},
	}
	shared := map[string]bool{}
	for _, th := range ListThresholds() {
		shared[th.Name] = true
	}
	var got []row
	severity := 101
	for _, info := range List() {
		r := row{class: info.Class, waits: info.Waits}
		if len(info.Thresholds) > 0 {
			r.early = info.Thresholds[0].Name
		}
		got = append(got, r)
		if info.Severity >= severity || info.Severity < 1 || info.Reads == "" || info.Early == "" {
			t.Errorf("%+v after severity %d", info, severity)
		}
		severity = info.Severity
		for _, th := range info.Thresholds {
			delete(shared, th.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if left := slices.Sorted(maps.Keys(shared)); !slices.Equal(left, []string{"boot_ms", "gap_ms", "recovered_ms"}) {
		t.Errorf("thresholds of no class: %q", left)
	}
	// A rule's place follows from its severity, not from its place in the list.
	var th Thresholds
	for i, e := range th.entries() {
		if i > 0 && e.severity() >= th.entries()[i-1].severity() {
			t.Errorf("rule %d is out of order", i)
		}
	}
}

// value returns the threshold of that name.
func (t *Thresholds) value(name string) (int64, bool) {
	for _, k := range t.knobs() {
		if k.Name == name {
			return k.get(), true
		}
	}
	return 0, false
}

// fields counts the fields of a struct, and of the structs that it embeds.
func fields(t reflect.Type) int {
	n := 0
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous {
			n++
		}
	}
	return n
}
