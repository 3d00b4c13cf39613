"""Spiking neurons as Keras layers, one file each."""
