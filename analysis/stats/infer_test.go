package stats

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestBootstrapRefuses(t *testing.T) {
	good := Bootstrap{MinResamples, 1, 0.95}
	some := [][]float64{{1, 2, 3}}
	for _, b := range []Bootstrap{{1999, 1, 0.95}, {MinResamples, 1, 0}, {MinResamples, 1, 1}} {
		if _, err := b.One(some, MedianOf); err == nil {
			t.Errorf("%+v makes an interval", b)
		}
		if _, err := b.Ratio(some, some, MedianOf); err == nil {
			t.Errorf("%+v makes a ratio", b)
		}
	}
	if _, err := good.One([][]float64{nil, {}}, MedianOf); err == nil {
		t.Error("an interval of nothing")
	}
	if _, err := good.Ratio(nil, some, MedianOf); err == nil || !strings.HasPrefix(err.Error(), "base: ") {
		t.Errorf("ratio to nothing: %v", err)
	}
	if _, err := good.Ratio(some, nil, MedianOf); err == nil || !strings.HasPrefix(err.Error(), "next: ") {
		t.Errorf("ratio of nothing: %v", err)
	}
	if _, err := good.Ratio([][]float64{{0, 0}}, some, MedianOf); err == nil {
		t.Error("a ratio to 0")
	}
	// The median of the base is not 0, that of some resamples is.
	e, err := good.Ratio([][]float64{{0, 1, 1}}, some, MedianOf)
	if err != nil || e.CI != nil || !strings.Contains(strings.Join(e.Warnings, "; "), "no interval") {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestBootstrapSeeded(t *testing.T) {
	xs := [][]float64{upTo(12), {3, 9, 4}, {8}}
	whole := slices.Concat(xs...)
	a, err := Bootstrap{MinResamples, 7, 0.95}.One(xs, MedianOf)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Bootstrap{MinResamples, 7, 0.95}.One(xs, MedianOf)
	if err != nil || *a.CI != *b.CI {
		t.Errorf("one seed, two intervals: %+v, %+v, %v", a.CI, b.CI, err)
	}
	if m, _ := Median(whole); a.Value != m || a.N != 16 {
		t.Errorf("estimate %+v of a median of %g", a, m)
	}
	if !slices.Equal(whole, slices.Concat(xs...)) {
		t.Error("the sample was changed")
	}
	first, err := Bootstrap{MinResamples, 100, 0.95}.One([][]float64{irrational(50)}, MedianOf)
	if err != nil {
		t.Fatal(err)
	}
	other := false
	for seed := range uint64(10) {
		e, err := Bootstrap{MinResamples, seed, 0.95}.One([][]float64{irrational(50)}, MedianOf)
		if err != nil {
			t.Fatal(err)
		}
		other = other || *e.CI != *first.CI
	}
	if !other {
		t.Error("the seed does nothing")
	}
}

func irrational(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = math.Mod(float64(i)*math.Phi, 1)
	}
	return xs
}

func TestBootstrapWarnings(t *testing.T) {
	for _, tc := range []struct {
		boots [][]float64
		want  []string
	}{
		{[][]float64{upTo(20)}, []string{"one boot"}},
		{[][]float64{upTo(3)}, []string{"n=3", "one boot"}},
		{[][]float64{upTo(10), nil, upTo(9)}, []string{"2 boots are few"}},
		{[][]float64{upTo(4), upTo(4), upTo(4), upTo(4), upTo(4)}, nil},
	} {
		e, err := Bootstrap{MinResamples, 1, 0.95}.One(tc.boots, MedianOf)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Warnings) != len(tc.want) {
			t.Errorf("%v: warnings %q, want %q", tc.boots, e.Warnings, tc.want)
			continue
		}
		for i, w := range tc.want {
			if !strings.Contains(e.Warnings[i], w) {
				t.Errorf("%v: warning %q, want %q", tc.boots, e.Warnings[i], w)
			}
		}
	}
	// A warning of both sides appears once.
	e, err := Bootstrap{MinResamples, 1, 0.95}.Ratio([][]float64{upTo(20)}, [][]float64{upTo(20)}, MedianOf)
	if err != nil || len(e.Warnings) != 1 || e.Value != 1 {
		t.Errorf("%+v, %v", e, err)
	}
}

// If boots differ and the trials within a boot do not, only the draw of boots causes any
// spread. An interval of pooled trials would be far too short.
func TestBootstrapLevels(t *testing.T) {
	var boots [][]float64
	var pooled []float64
	for b := range 8 {
		boot := make([]float64, 25)
		for i := range boot {
			boot[i] = float64(b)
		}
		boots = append(boots, boot)
		pooled = append(pooled, boot...)
	}
	b := Bootstrap{MinResamples, 1, 0.95}
	mean := func(xs []float64) float64 {
		sum := 0.0
		for _, x := range xs {
			sum += x
		}
		return sum / float64(len(xs))
	}
	apart, err := b.One(boots, mean)
	if err != nil {
		t.Fatal(err)
	}
	together, err := b.One([][]float64{pooled}, mean)
	if err != nil {
		t.Fatal(err)
	}
	// sqrt(25) times as long, if the trials add nothing, and by 2.365/1.960
	// sqrt(8/7) more for there being eight boots.
	if r := (apart.CI.Hi - apart.CI.Lo) / (together.CI.Hi - together.CI.Lo); !near(r, 6.45, 0.7) {
		t.Errorf("%+v by boot, %+v pooled: %g times as long, want 6.45", apart.CI, together.CI, r)
	}
}

func TestMannWhitney(t *testing.T) {
	// All of one below all of the other: 2 of C(10,5) = 252 orders.
	p, ws, err := MannWhitney([]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 0.05)
	if err != nil || !near(p, 2.0/252, 1e-9) || len(ws) != 0 {
		t.Errorf("p=%g, %q, %v", p, ws, err)
	}
	// Three and three can come to 2 of 20 at best: no difference shows at 0.05.
	p, ws, err = MannWhitney([]float64{1, 2, 3}, []float64{6, 7, 8}, 0.05)
	if err != nil || !near(p, 0.1, 1e-9) || len(ws) != 1 {
		t.Errorf("p=%g, %q, %v", p, ws, err)
	}
	if p, _, err := MannWhitney([]float64{2, 2, 2, 2}, []float64{2, 2, 2, 2}, 0.05); err != nil || p != 1 {
		t.Errorf("equal values: p=%g, %v", p, err)
	}
	if _, _, err := MannWhitney(nil, []float64{1}, 0.05); err == nil {
		t.Error("a test of nothing")
	}
}

// The lady tasting tea: 3 of 4 against 1 of 4 has (1+16+16+1)/70 two-sided.
func TestFisher(t *testing.T) {
	for _, tc := range []struct {
		ka, na, kb, nb int
		want           float64
	}{
		{3, 4, 1, 4, 34.0 / 70},
		{4, 4, 0, 4, 2.0 / 70},
		{0, 4, 0, 9, 1},
		{9, 9, 4, 4, 1},
		{1, 10, 11, 14, 0.0027594561852},
	} {
		p, err := Fisher(tc.ka, tc.na, tc.kb, tc.nb)
		if err != nil || !near(p, tc.want, 1e-9) {
			t.Errorf("Fisher(%d/%d, %d/%d) = %.13g, %v; want %g", tc.ka, tc.na, tc.kb, tc.nb, p, err, tc.want)
		}
	}
	if _, err := Fisher(5, 4, 1, 4); err == nil {
		t.Error("5 of 4 has a test")
	}
}

func TestHolm(t *testing.T) {
	for _, tc := range []struct{ ps, want []float64 }{
		{nil, []float64{}},
		{[]float64{0.03}, []float64{0.03}},
		{[]float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{[]float64{0.9, 0.5}, []float64{1, 1}},
		// 2*0.011 and 0.012 are raised: never below a smaller one
		{[]float64{0.01, 0.011, 0.012}, []float64{0.03, 0.03, 0.03}},
	} {
		got := Holm(tc.ps)
		if !slices.EqualFunc(got, tc.want, func(a, b float64) bool { return near(a, b, 1e-12) }) {
			t.Errorf("Holm(%v) = %v, want %v", tc.ps, got, tc.want)
		}
	}
}

func TestPairedRatio(t *testing.T) {
	var pairs []Pair
	for i := range 8 {
		pairs = append(pairs, Pair{float64(i), float64(i) * (1 + float64(i)/100)})
	}
	e, err := PairedRatio(pairs, 0.95)
	if err != nil || e.N != 7 || !near(e.Median, 1.04, 1e-12) || e.CI == nil || !near(e.CI.Lo, 1.01, 1e-12) ||
		!near(e.CI.Hi, 1.07, 1e-12) {
		t.Errorf("%+v, %v", e, err)
	}
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "1 of 8 pairs") {
		t.Errorf("warnings %q", e.Warnings)
	}
	if _, err := PairedRatio([]Pair{{0, 1}}, 0.95); err == nil {
		t.Error("a ratio to 0")
	}
	if _, err := PairedRatio(pairs, 2); err == nil {
		t.Error("level 2 has an interval")
	}
}

func TestQoS(t *testing.T) {
	q, err := NewQoS([]Watch{
		{100, []Mistake{{10, 14}, {30, 31}, {70, 74}}},
		{50, nil},
		{50, []Mistake{{0, 3}}},
	}, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	// Four mistakes of 12 in 200; starts 20 and 40 apart, good for 16 and 39.
	for _, v := range []struct {
		name      string
		got, want float64
	}{
		{"lambda_M", q.Rate, 0.02}, {"T_MR", q.Recurrence, 30}, {"T_M", q.Duration, 3}, {"T_G", q.Good, 27.5}, {"P_A",
			q.Accuracy, 0.94},
	} {
		if !near(v.got, v.want, 1e-12) {
			t.Errorf("%s is %g, want %g", v.name, v.got, v.want)
		}
	}
	if q.Mistakes != 4 || q.Exposure != 200 || len(q.Warnings) != 0 || !(q.RateCI.Lo < 0.02 && 0.02 < q.RateCI.Hi) {
		t.Errorf("%+v", q)
	}

	clean, err := NewQoS([]Watch{{Length: 300}}, 0.95)
	if err != nil || clean.Rate != 0 || clean.Accuracy != 1 || !near(clean.Upper, 2.9957/300, 1e-6) ||
		!math.IsNaN(clean.Recurrence) || !math.IsNaN(clean.Duration) || len(clean.Warnings) != 1 {
		t.Errorf("%+v, %v", clean, err)
	}
	for name, bad := range map[string][]Watch{
		"nothing":    nil,
		"no time":    {{Length: 0}},
		"negative":   {{Length: -1}},
		"outside":    {{10, []Mistake{{8, 11}}}},
		"overlap":    {{10, []Mistake{{1, 5}, {4, 6}}}},
		"backwards":  {{10, []Mistake{{5, 1}}}},
		"no number":  {{10, []Mistake{{math.NaN(), 1}}}},
		"not finite": {{Length: math.Inf(1)}},
	} {
		if _, err := NewQoS(bad, 0.95); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSign(t *testing.T) {
	for _, tc := range []struct {
		up, down int
		want     float64
	}{{0, 0, 1}, {1, 0, 1}, {6, 0, 2.0 / 64}, {0, 6, 2.0 / 64}, {8, 2, 2 * 56.0 / 1024}, {3, 3, 1}} {
		p, err := Sign(tc.up, tc.down)
		if err != nil || !near(p, tc.want, 1e-9) {
			t.Errorf("Sign(%d, %d) = %g, %v; want %g", tc.up, tc.down, p, err, tc.want)
		}
	}
	if _, err := Sign(-1, 2); err == nil {
		t.Error("-1 up has a test")
	}
}

func FuzzMedianOf(f *testing.F) {
	f.Add([]byte{1})
	f.Add([]byte{3, 1, 2, 2, 9, 9, 0, 255})
	f.Add([]byte{5, 5, 5, 5, 5, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		xs := make([]float64, len(data))
		for i, b := range data {
			xs[i] = float64(b)
		}
		want, ok := Median(xs)
		if got := MedianOf(xs); ok && got != want || ok == math.IsNaN(got) {
			t.Errorf("median of %v is %g, want %g", data, got, want)
		}
		slices.Sort(xs)
		for i, b := range slices.Sorted(slices.Values(data)) {
			if xs[i] != float64(b) {
				t.Fatalf("the values of %v became %v", data, xs)
			}
		}
	})
}
