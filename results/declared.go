package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// Declaration is a fault that a suite declares as data. Package scenarios knows what the
// words mean.
type Declaration struct {
	// Do is what is done to the guest, as in hold. It is empty if nothing is: the guest's work
	// alone is the control then.
	Do string `json:"do,omitempty"`
	// Args are the arguments by name. A number stands there as its decimal digits. One that
	// has its default is left out.
	Args  map[string]string `json:"args,omitempty"`
	Work  string            `json:"work"`            // what the guest does meanwhile: name of a workload
	Exec  []string          `json:"exec,omitempty"`  // program of the work exec, and its arguments
	Class string            `json:"class"`           // class of the right verdict; none if nothing hangs
	Final bool              `json:"final,omitempty"` // the fault cannot be removed
	// Seconds is how long a guest of class none is disturbed. 0 stands for 10.
	Seconds int `json:"seconds,omitempty"`
}

// Declared is a Declaration as the text of a JSON object without blanks, so that equal
// declarations are equal with ==. It is empty for a scenario of the program's own.
type Declared string

const (
	// mostDeclared is the largest length of a Declared in bytes, mostArgs the largest number
	// of its arguments.
	mostDeclared = 4096
	mostArgs     = 20
)

// declaredText matches every name and value of a declaration. None of the characters is
// special in JSON, in a terminal or in a document.
var declaredText = regexp.MustCompile(`^[A-Za-z0-9_./:=,+%@-]{1,100}$`)

// Text returns the declaration as text. The error names what no record can have.
func (d Declaration) Text() (Declared, error) {
	names := append([]string{d.Work, d.Class}, d.Exec...)
	if d.Do != "" {
		names = append(names, d.Do)
	}
	for name, value := range d.Args {
		names = append(names, name, value)
	}
	for _, text := range names {
		if !declaredText.MatchString(text) {
			return "", fmt.Errorf("fault: %.100q is no name and no number: use 1 to 100 letters, digits and "+
				"_ . / : = , + %% @ -", text)
		}
	}
	if n := max(len(d.Args), len(d.Exec)); n > mostArgs {
		return "", fmt.Errorf("fault: %s has %d arguments, more than %d", d.Do, n, mostArgs)
	}
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("fault: %w", err)
	}
	if len(b) > mostDeclared {
		return "", fmt.Errorf("fault: %d bytes, more than %d", len(b), mostDeclared)
	}
	return Declared(b), nil
}

// Declaration returns what the text says. The error says why it is no text of a
// declaration.
func (d Declared) Declaration() (Declaration, error) {
	var of Declaration
	if len(d) > mostDeclared {
		return of, fmt.Errorf("fault: %d bytes, more than %d", len(d), mostDeclared)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(d)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&of); err != nil {
		return Declaration{}, fmt.Errorf("fault: %w", err)
	}
	return of, nil
}

// MarshalJSON writes the declaration as an object.
func (d Declared) MarshalJSON() ([]byte, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	if d == "" {
		return []byte("null"), nil
	}
	return []byte(d), nil
}

// UnmarshalJSON reads the object of a declaration. It refuses other fields, and text that
// no declaration has.
func (d *Declared) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	of, err := Declared(b).Declaration()
	if err != nil {
		return err
	}
	text, err := of.Text()
	if err != nil {
		return err
	}
	*d = text
	return nil
}

// validate refuses text that Declaration.Text does not write.
func (d Declared) validate() error {
	if d == "" {
		return nil
	}
	of, err := d.Declaration()
	if err != nil {
		return err
	}
	text, err := of.Text()
	if err == nil && text != d {
		err = fmt.Errorf("fault: %.100q is written %.100q", d, text)
	}
	return err
}
