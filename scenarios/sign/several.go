package sign

// A guest that does several works at a time hangs in part if one of them stops or becomes
// slow, whatever the others do. Each has a Truth of its own.

// each returns a Truth for each of several works. It returns none if there is one work.
func each(c Config) []*Truth {
	if len(c.Before.Works) < 2 {
		return nil
	}
	var all []*Truth
	for n, units := range c.Before.Works {
		one := c
		one.Before.Works, one.Before.Work = nil, units
		one.units = func() uint64 { return c.Page.Units(n, c.CPUs) }
		all = append(all, NewTruth(one))
	}
	return all
}

// followEach follows each of several works, or the one.
func followEach(t *Truth, follow func(*Truth) Watch) Watch {
	if len(t.each) == 0 {
		return follow(t)
	}
	w := eachWatch{t: t}
	for _, one := range t.each {
		w.of = append(w.of, follow(one))
	}
	return w
}

// eachWatch shows what one of several works shows.
type eachWatch struct {
	t  *Truth
	of []Watch
}

// Shown returns the earliest time of those that are shown.
func (w eachWatch) Shown(now int64) (shown bool, since int64, err error) {
	for _, one := range w.of {
		is, at, err := one.Shown(now)
		if err != nil {
			return false, 0, err
		}
		if is && (!shown || at < since) {
			shown, since = true, at
		}
	}
	return shown, since, nil
}

func (w eachWatch) Refuted(now int64) string { return workWentOn(w.t, now) }

// resumedEach reports whether each of several works has gone on, or the one.
func resumedEach(t *Truth, resumed func(*Truth) func() bool) func() bool {
	if len(t.each) == 0 {
		return resumed(t)
	}
	var all []func() bool
	for _, one := range t.each {
		all = append(all, resumed(one))
	}
	return func() bool {
		good := true
		for _, one := range all {
			good = one() && good
		}
		return good
	}
}

// stoodEach says since when the first of several works stood still, or the one.
func stoodEach(t *Truth, b Bound, stood func(*Truth, Bound) (int64, string)) (since int64, why string) {
	if len(t.each) == 0 {
		return stood(t, b)
	}
	found := false
	for _, one := range t.each {
		at, says := stood(one, b)
		if says == "" && (!found || at < since) {
			found, since = true, at
		}
		why = says
	}
	if found {
		return since, ""
	}
	return 0, why
}

// failedEach says why a disturbance had no effect on any of several works, or on the one.
func failedEach(d Disturbed, failed func(Disturbed) string) (why string) {
	if len(d.Before.Works) < 2 {
		return failed(d)
	}
	for n := range d.Before.Works {
		one := d
		one.Before.Work, one.During.Work = d.Before.Works[n], d.During.Works[n]
		if why = failed(one); why == "" {
			return ""
		}
	}
	return why
}
