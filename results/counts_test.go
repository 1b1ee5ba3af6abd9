package results

import (
	"reflect"
	"testing"
)

// TestAdd: the counts of another window are added field by field, and none is left out.
func TestAdd(t *testing.T) {
	t.Parallel()
	var ept, otherEPT EPT
	var events, otherEvents Events
	fill := func(of any, by uint64) {
		v := reflect.ValueOf(of).Elem()
		for i := range v.NumField() {
			v.Field(i).SetUint(by * uint64(i+1))
		}
	}
	check := func(of any) {
		t.Helper()
		v := reflect.ValueOf(of).Elem()
		for i := range v.NumField() {
			if got, want := v.Field(i).Uint(), 101*uint64(i+1); got != want {
				t.Errorf("%s.%s is %d, want %d", v.Type(), v.Type().Field(i).Name, got, want)
			}
		}
	}
	fill(&ept, 1)
	fill(&otherEPT, 100)
	ept.Add(otherEPT)
	check(&ept)
	fill(&events, 1)
	fill(&otherEvents, 100)
	events.Add(otherEvents)
	check(&events)
}
