package detect

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestThresholds: every field has a name, can be set over its whole range and not
// beyond, and changes nothing else.
func TestThresholds(t *testing.T) {
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
	now := DefaultThresholds()
	if err := now.SetAll(map[string]int64{"spin_ms": 50, "forkstorm_threads": 99}); err != nil || now.Spin != 50*time.Millisecond || now.ForkstormThreads != 99 {
		t.Errorf("%v, error %v", now, err)
	}
	err := now.SetAll(map[string]int64{"spinn_ms": 50, "soft_ms": 0, "hard_ms": 10})
	if err == nil || len(strings.Split(err.Error(), "\n")) != 2 || now.Hard != 10*time.Millisecond {
		t.Errorf("error %v, hard %v", err, now.Hard)
	}
	if _, ok := now.value("spinn_ms"); ok {
		t.Error("a threshold that is none")
	}
}

// TestListRules: every class is described, by falling severity, and every threshold
// but the shared ones belongs to a rule.
func TestListRules(t *testing.T) {
	want := []Class{ClassPanic, ClassSpin, ClassHard, ClassSoft, ClassStopped, ClassForkstorm, ClassThrash, ClassIO, ClassBlocked}
	free := map[string]bool{}
	for _, th := range ListThresholds() {
		free[th.Name] = true
	}
	list := List()
	for i, r := range list {
		if i >= len(want) || r.Class != want[i] || r.Reads == "" || r.Early == "" {
			t.Errorf("%d: %+v", i, r)
		}
		if len(r.Thresholds) == 0 && r.Class != ClassPanic {
			t.Errorf("%s has no threshold", r.Class)
		}
		for _, th := range r.Thresholds {
			delete(free, th.Name)
		}
	}
	if len(list) != len(want) || len(free) != 3 || !free["gap_ms"] || !free["boot_ms"] || !free["recovered_ms"] {
		t.Errorf("%d rules, thresholds of none %v", len(list), free)
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
