"""The service's page: give it a picture, and see what the heads say."""
