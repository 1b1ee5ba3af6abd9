package kernel

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestTypes(t *testing.T) {
	t.Parallel()
	types, err := parseTypes(fakeTypes(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		structName, path string
		want             Field
	}{
		{"task_struct", "__state", Field{Offset: 0, Size: 4}},
		{"task_struct", "lock", Field{Offset: 4, Size: 4}},
		{"task_struct", "lock.val", Field{Offset: 4, Size: 4}},
		{"task_struct", "lock.pending", Field{Offset: 5, Size: 1}},
		{"task_struct", "next", Field{Offset: 8, Size: 8}},
		{"task_struct", "comm", Field{Offset: 16, Size: 16}},
		{"task_struct", "comm[15]", Field{Offset: 31, Size: 1}},
		{"task_struct", "flag_a", Field{Offset: 32, Size: 1, BitOffset: 0, BitSize: 3}},
		{"task_struct", "flag_b", Field{Offset: 32, Size: 2, BitOffset: 3, BitSize: 7}},
		{"task_struct", "locks", Field{Offset: 36, Size: 16}},
		{"task_struct", "locks[3].pending", Field{Offset: 49, Size: 1}},
		{"task_struct", "tail[2]", Field{Offset: 112, Size: 8}},
		{"fakelock_t", "locked", Field{Offset: 0, Size: 1}},
		{"clash", "same", Field{Offset: 0, Size: 4}},
		{"clash", "only", Field{Offset: 8, Size: 8}},
	} {
		if got, err := types.Field(tt.structName, tt.path); err != nil || got != tt.want {
			t.Errorf("Field(%s, %s) = %+v, %v; want %+v", tt.structName, tt.path, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		structName, path string
		missing          bool
		want             string
	}{
		{"nosuch", "comm", true, "type nosuch not found"},
		{"task_struct", "state", true, "member state not found"},
		{"task_struct", "", true, `member "" not found`},
		{"task_struct", "lock.", true, `member "" not found`},
		{"task_struct", "next.comm", false, "pointers are not followed"},
		{"task_struct", "comm[16]", false, "beyond the array's 16 elements"},
		{"task_struct", "comm[x]", false, "no element of an array"},
		{"task_struct", "comm[1", false, "no element of an array"},
		{"task_struct", "comm[1][2]", false, "no element of an array"},
		{"task_struct", "__state[0]", false, "no element of an array"},
		{"clash", "moved", false, "at different places"},
		{"task_struct", "tail[536870912]", false, "too far"},
		{"task_struct", "tail[67108864]", false, "too far"},
		{"unsigned int", "x", false, "no structure"},
	} {
		_, err := types.Field(tt.structName, tt.path)
		if err == nil || errors.Is(err, ErrNotFound) != tt.missing || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Field(%s, %s): error %v, want one with %q, missing %v", tt.structName, tt.path, err, tt.want, tt.missing)
		}
	}
	for name, want := range map[string]uint32{"task_struct": 96, "fakelock_t": 4, "char": 1, "fake_state": 4, "clash": 0,
		"nosuch": 0} {
		if got, err := types.SizeOf(name); got != want || (err != nil) != (want == 0) {
			t.Errorf("SizeOf(%s) = %d, %v; want %d", name, got, err, want)
		}
	}

	var wg sync.WaitGroup
	for range 4 { // for the race detector: lookups share the index
		wg.Go(func() {
			for name, want := range map[string]int64{"FAKE_BAD": -1, "FAKE_RUN": 7, "fake_state.FAKE_RUN": 7,
				"one.FAKE_MOVED": 4, "two.FAKE_MOVED": 5} {
				if got, err := types.EnumValue(name); err != nil || got != want {
					t.Errorf("EnumValue(%s) = %d, %v; want %d", name, got, err, want)
				}
			}
			if _, err := types.Field("task_struct", "lock.val"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := types.EnumValue("FAKE_CLASH"); err == nil || !strings.Contains(err.Error(), "disagree") {
		t.Errorf("EnumValue(FAKE_CLASH): %v, want a conflict", err)
	}
	if _, err := types.EnumValue("FAKE_MOVED"); err == nil || !strings.Contains(err.Error(), "disagree") {
		t.Errorf("EnumValue(FAKE_MOVED): %v, want a conflict", err)
	}
	if _, err := types.EnumValue("two.FAKE_RUN"); !errors.Is(err, ErrNotFound) {
		t.Errorf("EnumValue(two.FAKE_RUN): %v, want %v", err, ErrNotFound)
	}
	if _, err := types.EnumValue("NOSUCH"); !errors.Is(err, ErrNotFound) {
		t.Errorf("EnumValue(NOSUCH): %v, want %v", err, ErrNotFound)
	}
}

// TestOddTypes: offsets that Field cannot give are errors.
func TestOddTypes(t *testing.T) {
	t.Parallel()
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	big := &btf.Struct{Name: "big", Size: 1 << 31}
	odd := &btf.Struct{Name: "odd", Size: 16, Members: []btf.Member{
		{Name: "inside", Type: u32, Offset: 4},
		{Name: "tail", Type: &btf.Array{Index: u32, Type: big}, Offset: 64},
	}}
	b, err := btf.NewBuilder([]btf.Type{odd}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := parseTypes(raw)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"inside":           "is no bit field",
		"tail[1]":          "too far",
		"tail[1073741824]": "too far", // 2^64 bits
	} {
		if f, err := types.Field("odd", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want an error with %q", path, f, err, want)
		}
	}
}
