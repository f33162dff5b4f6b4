"""One loss a file; vectors of any length come in, a scalar comes out, all in float32."""
