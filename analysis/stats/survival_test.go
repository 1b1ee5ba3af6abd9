package stats

import (
	"math"
	"testing"
)

// remission is the textbook sample of Freireich and others (Blood 21, 1963):
// weeks in remission of 21 patients, 12 of them censored.
func remission() []Lifetime {
	var lives []Lifetime
	for _, t := range []float64{6, 6, 6, 7, 10, 13, 16, 22, 23} {
		lives = append(lives, Lifetime{Time: t})
	}
	for _, t := range []float64{6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35} {
		lives = append(lives, Lifetime{Time: t, Censored: true})
	}
	return lives
}

// Shares and standard errors as printed in textbooks for this sample.
func TestKaplanMeier(t *testing.T) {
	s, err := KaplanMeier(remission(), 0.95)
	if err != nil {
		t.Fatal(err)
	}
	want := []SurvivalStep{
		{Time: 6, AtRisk: 21, Events: 3, Censored: 0, Share: 0.857, SE: 0.0764},
		{Time: 7, AtRisk: 17, Events: 1, Censored: 1, Share: 0.807, SE: 0.0869},
		{Time: 10, AtRisk: 15, Events: 1, Censored: 1, Share: 0.753, SE: 0.0963},
		{Time: 13, AtRisk: 12, Events: 1, Censored: 2, Share: 0.690, SE: 0.1068},
		{Time: 16, AtRisk: 11, Events: 1, Censored: 0, Share: 0.627, SE: 0.1141},
		{Time: 22, AtRisk: 7, Events: 1, Censored: 3, Share: 0.538, SE: 0.1282},
		{Time: 23, AtRisk: 6, Events: 1, Censored: 0, Share: 0.448, SE: 0.1346},
	}
	if len(s.Steps) != len(want) || s.N != 21 || s.Events != 9 || s.Last != 35 || len(s.Warnings) != 0 {
		t.Fatalf("%+v", s)
	}
	for i, w := range want {
		g := s.Steps[i]
		if g.Time != w.Time || g.AtRisk != w.AtRisk || g.Events != w.Events || g.Censored != w.Censored || !near(g.Share,
			w.Share, 5e-4) || !near(g.SE, w.SE, 5e-5) {
			t.Errorf("step %d: %+v, want %+v", i, g, w)
		}
	}
	// On the log-minus-log scale the interval at 6 weeks is printed as 0.620 to
	// 0.952, that of the median as 13 weeks to unknown.
	if ci := s.Steps[0].CI; !near(ci.Lo, 0.620, 5e-4) || !near(ci.Hi, 0.952, 5e-4) {
		t.Errorf("interval at 6 weeks: %+v", ci)
	}
	q, ok := s.Quantile(0.5)
	if !ok || q.Time != 23 || q.Lo != 13 || !math.IsInf(q.Hi, 1) {
		t.Errorf("median %+v, %v", q, ok)
	}
	if _, ok := s.Quantile(0.9); ok {
		t.Error("nine of ten have ended, with 12 of 21 censored")
	}
	for at, share := range map[float64]float64{0: 1, 5.9: 1, 6: 0.857, 9: 0.807, 40: 0.448} {
		if !near(s.At(at), share, 5e-4) {
			t.Errorf("share at %g: %g, want %g", at, s.At(at), share)
		}
	}
}

func TestKaplanMeierEnds(t *testing.T) {
	all, err := KaplanMeier([]Lifetime{{Time: 3}, {Time: 1}, {Time: 2}, {Time: 2}}, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	last := all.Steps[len(all.Steps)-1]
	if last.Share != 0 || last.CI != nil || last.SE != 0 || all.Events != 4 {
		t.Errorf("all ended: %+v", last)
	}
	if q, ok := all.Quantile(0.5); !ok || q.Time != 2 {
		t.Errorf("median %+v, %v", q, ok)
	}
	if q, ok := all.Quantile(0.25); !ok || q.Time != 1 {
		t.Errorf("first quartile %+v, %v", q, ok)
	}
	if len(all.Warnings) != 1 {
		t.Errorf("four lifetimes warn %q", all.Warnings)
	}
	none, err := KaplanMeier([]Lifetime{{8, true}, {8, true}}, 0.95)
	if err != nil || len(none.Steps) != 0 || none.At(7) != 1 || none.Last != 8 {
		t.Errorf("all censored: %+v, %v", none, err)
	}
	if _, ok := none.Quantile(0.5); ok {
		t.Error("a median of misses")
	}
	for _, bad := range [][]Lifetime{nil, {{Time: -1}}, {{Time: math.NaN()}}, {{Time: math.Inf(1)}}} {
		if _, err := KaplanMeier(bad, 0.95); err == nil {
			t.Errorf("%v has a curve", bad)
		}
	}
	if _, err := KaplanMeier(remission(), 0); err == nil {
		t.Error("level 0 has a curve")
	}
}

// Without censoring the estimate is the share of the sample that is larger.
func FuzzKaplanMeier(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5})
	f.Add([]byte{7, 7, 7, 135, 135})
	f.Fuzz(func(t *testing.T, data []byte) {
		var lives []Lifetime
		censored := 0
		for _, b := range data {
			lives = append(lives, Lifetime{Time: float64(b & 127), Censored: b&128 != 0})
			censored += int(b >> 7)
		}
		s, err := KaplanMeier(lives, 0.95)
		if (err != nil) != (len(data) == 0) {
			t.Fatalf("%d lifetimes: %v", len(data), err)
		}
		if err != nil {
			return
		}
		last := 1.0
		events := 0
		for _, step := range s.Steps {
			if !(step.Share < last) || step.Share < 0 {
				t.Fatalf("share %g after %g", step.Share, last)
			}
			if ci := step.CI; ci != nil && !(0 <= ci.Lo && ci.Lo <= step.Share && step.Share <= ci.Hi && ci.Hi <= 1) {
				t.Fatalf("share %g is not in %+v", step.Share, ci)
			}
			last = step.Share
			events += step.Events
		}
		if events != len(data)-censored {
			t.Fatalf("%d events of %d", events, len(data)-censored)
		}
		for at := range 128 {
			longer := 0
			for _, b := range data {
				if int(b&127) > at {
					longer++
				}
			}
			if censored == 0 && !near(s.At(float64(at)), float64(longer)/float64(len(data)), 1e-9) {
				t.Fatalf("share at %d is %g, %d of %d are longer", at, s.At(float64(at)), longer, len(data))
			}
		}
	})
}
