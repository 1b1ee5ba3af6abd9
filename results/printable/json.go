package printable

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// JSON returns an error of encoding/json in the words of JSON. The library's own text
// names types of Go. Other errors stay as they are.
func JSON(err error) error {
	if wrong, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("%q is no time, as in 2026-01-02T15:04:05Z", strings.Trim(wrong.Value, `"`))
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	field := wrong.Field
	if field == "" {
		field = "it"
	}
	is, value, _ := strings.Cut(wrong.Value, " ")
	name := map[string]string{"string": "a text", "bool": "true or false", "array": "a list", "object": "an object"}[is]
	if value != "" || name == "" {
		name = strings.TrimSpace("the number " + value)
	}
	return fmt.Errorf("%s is %s, and not %s", Line(field), Line(name), jsonType(wrong.Type))
}

// jsonType is the JSON that a type of Go holds.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 on"
	case reflect.Float32, reflect.Float64:
		return "a number in range"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "what is expected"
}
