package scenarios

import (
	"regexp"
	"testing"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// TestAll: what tables, suites and trials rely on holds for every scenario.
func TestAll(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, s := range All() {
		if !id.MatchString(s.ID) || seen[s.ID] {
			t.Errorf("id %q is odd or there twice", s.ID)
		}
		seen[s.ID] = true
		if got, err := Find(s.ID); err != nil || got.Summary != s.Summary {
			t.Errorf("%s is not found: %v", s.ID, err)
		}
		if n := len(s.Workload.Name); n < 1 || n > 8 { // guests/init tests that the guest can do it
			t.Errorf("%s: the workload's name %q does not have 1 to 8 bytes", s.ID, s.Workload.Name)
		}
		if s.Summary == "" || len(s.Summary) > 120 {
			t.Errorf("%s: the summary has %d letters, want 1 to 120", s.ID, len(s.Summary))
		}
		if s.Control() {
			if s.Class != "" || s.Final || s.Disturb == nil && s.Sign != nil || (s.Disturb == nil) != (s.Disturbed == 0) {
				t.Errorf("control %s has what only faults have, or a sign without a disturbance: %+v", s.ID, s)
			}
			if _, ok := s.Sign.(sign.Disturbance); s.Sign != nil && !ok {
				t.Errorf("control %s: the sign %s cannot be told of a disturbance", s.ID, s.Sign)
			}
		} else if s.Class == "" || s.Sign == nil || s.Disturb != nil {
			t.Errorf("fault %s lacks class or sign, or disturbs too: %+v", s.ID, s)
		}
		if _, ok := s.Sign.(sign.Bounded); !ok && s.Lasting() == "" {
			t.Errorf("%s can be bounded, and its sign %s cannot be told then", s.ID, s.Sign)
		}
		if silent, ok := s.Sign.(sign.Silent); ok && !s.Control() && silent.VCPUs == "" {
			t.Errorf("%s does not say which vCPUs fall silent", s.ID)
		}
		if (s.Sign == sign.Stuck{} || s.Sign == sign.Slow{} || s.Sign == sign.Held{}) && !s.Workload.Works() {
			t.Errorf("%s shows by work, and its workload %s does none", s.ID, s.Workload)
		}
		if (s.Sign == sign.Ended{}) && !s.Final {
			t.Errorf("%s: a guest that has ended does not come back", s.ID)
		}
		if s.Stress != stress.None && (!s.Control() || s.Disturb != nil || s.Workload != beat.Idle || !s.Stress.Known() ||
			(s.Programs() == "") != (s.Stress == stress.Null)) {
			t.Errorf("%s measures %s beside something else, or without its program: %+v", s.ID, s.Stress, s)
		}
		if s.Stress == stress.None && s.Programs() != "" {
			t.Errorf("%s needs %s for nothing", s.ID, s.Programs())
		}
		if (s.Lasting() == "") != (!s.Control() && !s.Final && !s.OfMonitor) {
			t.Errorf("%s: lasting %q", s.ID, s.Lasting())
		}
	}
	if _, err := Find("nothing"); err == nil {
		t.Error("a scenario was found that is not there")
	}
}

// noSymbols is a guest of whose kernel nothing is known.
type noSymbols struct{ inject.Target }

type noSymbol string

func (e noSymbol) Error() string { return string(e) }

func (noSymbols) Symbol(name string) (uint64, error) { return 0, noSymbol(name) }
func (noSymbols) VCPUs() int                         { return 1 }

// TestPlaces: a fault that is brought into the kernel asks it for a symbol, and
// says which is missing.
func TestPlaces(t *testing.T) {
	t.Parallel()
	n := 0
	for _, s := range All() {
		if s.Control() || (s.Sign == sign.Slow{}) || s.OfMonitor || s.ID == "io-stall" || s.ID == "realtime-hog" {
			continue
		}
		n++
		if _, err := s.Fault(t.Context(), noSymbols{}); err == nil {
			t.Errorf("%s went into a kernel without symbols", s.ID)
		}
	}
	if n < 15 {
		t.Errorf("%d faults of the kernel", n)
	}
}
