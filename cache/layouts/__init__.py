"""The layouts in which the field passes datasets around, read into ours."""
