package detect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Threshold describes one limit for suites and people.
type Threshold struct {
	Name     string // ends in _ms for milliseconds and in _percent for a share; else it is a number
	Default  int64
	Min, Max int64 // both are valid
	Summary  string
}

// knob is a Threshold and the place of its value, which is either a duration or a
// number.
type knob struct {
	Threshold
	duration *time.Duration
	number   *int64
}

// longest is the largest time that a threshold can be set to, in ms. No trial
// observes for longer.
const longest = 600_000

// milliseconds returns the knob of a time: 1 to longest.
func milliseconds(d *time.Duration, name string, def int64, summary string) knob {
	return knob{Threshold: Threshold{name, def, 1, longest, summary}, duration: d}
}

// number returns the knob of a number: least to most.
func number(n *int64, name string, def, least, most int64, summary string) knob {
	return knob{Threshold: Threshold{name, def, least, most, summary}, number: n}
}

func (k knob) set(v int64) {
	if k.duration != nil {
		*k.duration = time.Duration(v) * time.Millisecond
		return
	}
	*k.number = v
}

func (k knob) get() int64 {
	if k.duration != nil {
		return k.duration.Milliseconds()
	}
	return *k.number
}

// knobs returns every threshold once, in the order of the rules.
func (t *Thresholds) knobs() []knob {
	var list []knob
	for _, e := range t.entries() {
		for _, c := range e.classes {
			for _, k := range c.knobs {
				if !slices.ContainsFunc(list, func(have knob) bool { return have.Name == k.Name }) {
					list = append(list, k)
				}
			}
		}
	}
	return append(list, t.SharedThresholds.knobs()...)
}

// DefaultThresholds returns the values that apply where a suite sets none.
func DefaultThresholds() Thresholds {
	var t Thresholds
	for _, k := range t.knobs() {
		k.set(k.Default)
	}
	return t
}

// ListThresholds describes every threshold, in the order of the rules; those that
// the rules share come last.
func ListThresholds() []Threshold {
	var t Thresholds
	var list []Threshold
	for _, k := range t.knobs() {
		list = append(list, k.Threshold)
	}
	return list
}

// Set sets the threshold of that name, in the unit that the name gives. The error
// names the valid range.
func (t *Thresholds) Set(name string, value int64) error {
	for _, k := range t.knobs() {
		if k.Name != name {
			continue
		}
		if value < k.Min || value > k.Max {
			return fmt.Errorf("set threshold %s to %d: use %d to %d", name, value, k.Min, k.Max)
		}
		k.set(value)
		return nil
	}
	return fmt.Errorf("set threshold %q: there is none of that name", name)
}

// SetAll sets several thresholds by name. It sets every valid one; the error joins
// one for each that is not valid.
func (t *Thresholds) SetAll(values map[string]int64) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		errs = append(errs, t.Set(name, values[name]))
	}
	return errors.Join(errs...)
}
