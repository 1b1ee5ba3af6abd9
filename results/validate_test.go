package results

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// filled is a believable record that has every object a record can have.
func filled(kind Kind) Trial {
	tr := testTrial(0)
	tr.Neighbours, tr.HangNS, tr.AllClearNS = 1, new(int64(5)), new(int64(6))
	tr.BackedOut, tr.BackOutNS = "why", new(int64(7))
	tr.Guest.PairedNS, tr.Guest.Dom0BeforeNS, tr.Guest.Dom0DuringNS = 2e9, 1e8, 2e8
	tr.Guest.SilentVCPUs = []int{0}
	tr.Declared = `{"do":"hold","args":{"spinlock":"s"},"work":"w","class":"spin"}`
	tr.Alarms = []Alarm{{"spin", 5, new(int64(7))}}
	tr.NeighbourAlarms = []Alarm{{"spin", 5, new(int64(9))}}
	tr.Findings = []Finding{{Observer: "xen", Armed: true, WatchedNS: 9, ThresholdNS: 5, FromNS: 6, ToNS: 7,
		AtNS: new(int64(6)), Reports: 1, FalseAlarms: 1, VCPU: new(0)}}
	if kind == Measured {
		tr.Kind, tr.Outcome, tr.Expected, tr.Class, tr.Scope = Measured, Clean, "", "", ""
		tr.DetectNS, tr.DeadlineNS, tr.HangNS, tr.Recovered = nil, 0, nil, nil
		tr.Workload = &Workload{"p", "o", []Window{{false, 9, 9}, {true, 9, 9}}}
	}
	return tr
}

// TestEveryNumber: every number of a record has a range. One that is far outside makes
// the record impossible.
func TestEveryNumber(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, kind := range []Kind{Fault, Measured} {
		whole := filled(kind)
		if err := whole.Validate(); err != nil {
			t.Fatal(err)
		}
		walk(reflect.ValueOf(&whole).Elem(), "", func(path string, v reflect.Value) {
			if path == "Seed" || path == "Schema" {
				return
			}
			seen++
			was := reflect.New(v.Type()).Elem()
			was.Set(v)
			for _, harm := range []func(){
				func() { v.SetInt(-5) }, func() { v.SetInt(1e18) }, func() { v.SetInt(math.MaxInt64) },
				func() { v.SetUint(math.MaxUint64) }, func() { v.SetUint(1e18) },
				func() { v.SetFloat(-0.5) }, func() { v.SetFloat(1e308) }, func() { v.SetFloat(math.NaN()) },
			} {
				if set(harm) {
					if err := whole.Validate(); err == nil {
						t.Errorf("%s may be %v", path, v)
					}
				}
				v.Set(was)
			}
		})
		if err := whole.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	if seen < 80 {
		t.Errorf("%d numbers were tried", seen)
	}
}

// TestRanges: the tags of a field are the ends of its range, and both ends are in it.
func TestRanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		set  func(*Trial, int64)
		in   []int64
		out  []int64
	}{
		{"vcpus", func(t *Trial, n int64) { t.VCPUs = int(n) }, []int64{1, 8}, []int64{0, 9}},
		{"memory_mib", func(t *Trial, n int64) { t.MemoryMiB = int(n) }, []int64{128, 4096}, []int64{127, 4097}},
		{"neighbours", func(t *Trial, n int64) { t.Neighbours = int(n) }, []int64{1, 3}, []int64{-1, 4}},
		{"trial", func(t *Trial, n int64) { t.Trial = int(n) }, []int64{0, 100_000_000}, []int64{100_000_001}},
		{"block", func(t *Trial, n int64) { t.Block = int(n) }, []int64{0, 100_000_000}, []int64{-1, 100_000_001}},
		{"seed", func(t *Trial, n int64) { t.Seed = uint64(n) }, []int64{0, -1}, nil},
		{"guest.progress_ratio", func(t *Trial, n int64) { t.Guest.ProgressRatio = new(float64(n)) }, []int64{0, 1000},
			[]int64{-1, 1001}},
		{"events.looks", func(t *Trial, n int64) { t.Events.Inspections = uint64(n) }, []int64{0, most},
			[]int64{-1, most + 1}},
		{"ept.trace_lost", func(t *Trial, n int64) { t.EPT.TraceLost = uint64(n) }, []int64{0, most},
			[]int64{most + 1}},
	} {
		rec := filled(Fault)
		for _, n := range tc.in {
			if tc.set(&rec, n); rec.Validate() != nil {
				t.Errorf("%s cannot be %d: %v", tc.name, n, rec.Validate())
			}
		}
		for _, n := range tc.out {
			tc.set(&rec, n)
			if err := rec.Validate(); err == nil || !strings.Contains(err.Error(), tc.name+" ") {
				t.Errorf("%s is %d: %v", tc.name, n, err)
			}
		}
	}
}

// set reports whether harm fits the type of its value.
func set(harm func()) (ok bool) {
	defer func() { ok = recover() == nil }()
	harm()
	return true
}

// walk calls each for every number in v that is there, with its path.
func walk(v reflect.Value, path string, each func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if path != "" {
				name = path + "." + name
			}
			walk(v.Field(i), name, each)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), path, each)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), each)
		}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		each(path, v)
	}
}

// TestContradictions: facts of a record that contradict each other make it impossible.
func TestContradictions(t *testing.T) {
	t.Parallel()
	yes := true
	control := func(tr *Trial) {
		tr.Kind, tr.Outcome, tr.Expected, tr.Class, tr.Scope = Control, Clean, "", "", ""
		tr.DetectNS, tr.DeadlineNS, tr.HangNS, tr.Recovered = nil, 0, nil, nil
	}
	bounded := func(tr *Trial) {
		tr.BoundedMS, tr.DeadlineNS, tr.Outcome, tr.Class, tr.Scope, tr.DetectNS = 2000, 2e9, Undone, "", "", nil
		tr.UndoneNS, tr.ResumedNS = new(int64(2_000_000_001)), new(int64(2_000_000_002))
		tr.WindowNS = 3e9
	}
	for _, tc := range []struct {
		says string
		base func(*Trial)
		harm func(*Trial)
	}{
		{"without suite", nil, func(t *Trial) { t.Suite = "" }},
		{"without scenario", nil, func(t *Trial) { t.Scenario = "" }},
		{"mechanism", nil, func(t *Trial) { t.Mechanism = "" }},
		{"or driver", nil, func(t *Trial) { t.Driver = "" }},
		{"without guest_kernel", nil, func(t *Trial) { t.GuestKernel = "" }},
		{"window_ns is 0", nil, func(t *Trial) { t.WindowNS, t.Alarms = 0, nil }},
		{"without a reason", nil, func(t *Trial) { t.Outcome = Invalid }},
		{"a reason without", nil, func(t *Trial) { t.Reason = "r" }},
		{`host "<b>"`, nil, func(t *Trial) { t.Host = "<b>" }},
		{`host ""`, nil, func(t *Trial) { t.Host = "" }},
		{`kind "faulty"`, nil, func(t *Trial) { t.Kind = "faulty" }},
		{`scope "half"`, nil, func(t *Trial) { t.Scope = "half" }},
		{`guest_type "pvh"`, nil, func(t *Trial) { t.Type = "pvh" }},
		{"guest_type hvm without", nil, func(t *Trial) { t.Type = "hvm" }},
		{`guest_boot "plain"`, nil, func(t *Trial) { t.Boot = "plain" }},
		{"without deadline_ns", nil, func(t *Trial) { t.DeadlineNS = 0 }},
		{"without expected_class", nil, func(t *Trial) { t.Expected = "" }},
		{"without a fault, with", control, func(t *Trial) { t.DeadlineNS = 5 }},
		{"without a fault, with", control, func(t *Trial) { t.Expected = "spin" }},
		{"without a fault, with", control, func(t *Trial) { t.HangNS = new(int64) }},
		{"without a fault, with", control, func(t *Trial) { t.Recovered = &yes }},
		{"without a fault, with", control, func(t *Trial) { t.BoundedMS = 5 }},
		{"clean of a fault", nil, func(t *Trial) { t.Outcome, t.Class, t.Scope, t.DetectNS = Clean, "", "", nil }},
		{"undone without a fault", control, func(t *Trial) { t.Outcome = Missed }},
		{"detected without detect_ns", nil, func(t *Trial) { t.DetectNS = nil }},
		{"without outcome detected", nil, func(t *Trial) { t.Outcome, t.Class, t.Scope = Missed, "", "" }},
		{"without a verdict", control, func(t *Trial) { t.Class = "spin" }},
		{"without a verdict", control, func(t *Trial) { t.Scope = "full" }},
		{"after deadline_ns", nil, func(t *Trial) { *t.DetectNS = t.DeadlineNS + 1 }},
		{"after resumed_ns", bounded, func(t *Trial) { t.Outcome, t.DetectNS = Detected, new(int64(2_000_000_003)) }},
		{"is not bounded_ms", bounded, func(t *Trial) { t.DeadlineNS-- }},
		{"fault that is not bounded", bounded, func(t *Trial) { t.BoundedMS, t.DeadlineNS = 0, 5e9 }},
		{"without undone_ns and", bounded, func(t *Trial) { t.ResumedNS = nil }},
		{"before the end of the bounded", bounded, func(t *Trial) { *t.UndoneNS = 1_999_999_999 }},
		{"resumed_ns is before", bounded, func(t *Trial) { *t.ResumedNS = 2_000_000_000 }},
		{"resumed_ns is before", nil, func(t *Trial) { t.ResumedNS = new(int64(5e9)) }},
		{"longer than window_ns", nil, func(t *Trial) { *t.DetectNS = t.WindowNS + 1 }},
		{"longer than window_ns", nil, func(t *Trial) { *t.HangNS = t.WindowNS + 1 }},
		{"longer than window_ns", bounded, func(t *Trial) { *t.ResumedNS = t.WindowNS + 1 }},
		{"longer than window_ns", bounded, func(t *Trial) { t.WindowNS = *t.UndoneNS - 1 }},
		{"without backed_out", nil, func(t *Trial) { t.BackedOut = "" }},
		{"without paired_ns", nil, func(t *Trial) { t.Guest.PairedNS, t.Guest.Dom0BeforeNS = 0, 0 }},
		{"silent_vcpus", nil, func(t *Trial) { t.Guest.SilentVCPUs = []int{1} }},
		{"silent_vcpus", nil, func(t *Trial) { t.Guest.SilentVCPUs = []int{0, 0} }},
		{"measures none", nil, func(t *Trial) { t.Workload = &Workload{} }},
		{"without the workload", control, func(t *Trial) { t.Kind = Measured }},
		{"after the monitored window", nil, func(t *Trial) { t.Alarms[0].EndNS = new(t.WindowNS + 1) }},
		{"add up to", nil, func(t *Trial) { t.EPT.Total, t.EPT.Superpage = 2, most }},
		{"2001 alarms", nil, func(t *Trial) { t.Alarms = make([]Alarm, mostAlarms+1) }},
		{"2001 about neighbours", nil, func(t *Trial) { t.NeighbourAlarms = make([]Alarm, mostAlarms+1) }},
		{"2001 findings", nil, func(t *Trial) { t.Findings = make([]Finding, mostAlarms+1) }},
	} {
		tr := filled(Fault)
		if tc.base != nil {
			tc.base(&tr)
		}
		if err := tr.Validate(); err != nil {
			t.Fatalf("%s: before the harm: %v", tc.says, err)
		}
		tc.harm(&tr)
		if err := tr.Validate(); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.says, err)
		}
	}
}

// TestMissingKeys: a record without a field that every record has is impossible, as one is
// in which a flipped bit made the field's name unknown.
func TestMissingKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"schema", "suite", "host", "scenario", "mechanism", "driver", "guest_kernel", "vcpus", "memory_mib", "outcome",
		"expected_class", "detect_ns", "deadline_ns", "window_ns",
	} {
		line := string(testLine(t, 0))
		harmed := strings.Replace(line, `"`+key+`":`, `"`+key[1:]+`":`, 1)
		if harmed == line {
			t.Fatalf("no %s in the record", key)
		}
		if _, errs := readAll(strings.NewReader(harmed)); len(errs) != 1 {
			t.Errorf("without %s: errors %v", key, errs)
		}
	}
}

// FuzzValidate: a record that passes has no number that sums of trials cannot take, and
// is the same when it is written and read again.
func FuzzValidate(f *testing.F) {
	for _, kind := range []Kind{Fault, Measured} {
		b, err := json.Marshal(filled(kind))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := parseLine(data)
		if err != nil {
			return
		}
		walk(reflect.ValueOf(&rec.trial).Elem(), "", func(path string, v reflect.Value) {
			x := 0.0
			switch {
			case path == "Seed":
			case v.CanInt():
				x = float64(v.Int())
			case v.CanUint():
				x = float64(v.Uint())
			default:
				x = v.Float()
			}
			if !(x >= 0 && x <= most) {
				t.Errorf("%s is %v", path, v)
			}
		})
		b, err := json.Marshal(rec.trial)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseLine(b)
		if err != nil {
			t.Fatalf("%v of a record that was read", err)
		}
		if c, _ := json.Marshal(again.trial); string(c) != string(b) {
			t.Errorf("%s\nwas\n%s", c, b)
		}
	})
}
